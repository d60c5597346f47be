// Encodings, configuration and arithmetic: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, "LDTILECFG" to
// "TILEZERO", and volume 1, chapter 18.
#include "tests/differential/amx_emulator.h"

#include "runtime/core/cpu.h"

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <ucontext.h>
#include <unistd.h>

namespace qwench::test {
namespace {

constexpr int kTiles = 8, kMostRows = 16, kRowBytes = 64;

struct Tile {
  int rows = 0, bytes = 0; ///< configured; bytes of a row
  alignas(64) uint8_t data[kMostRows][kRowBytes] = {};

  template <typename T> T get(int row, int column) const {
    T value;
    std::memcpy(&value, data[row] + column * sizeof(T), sizeof(T));
    return value;
  }
  template <typename T> void set(int row, int column, T value) {
    std::memcpy(data[row] + column * sizeof(T), &value, sizeof(T));
  }
};

thread_local Tile tiles[kTiles];

/// Ends the process; all it calls may be called by a handler of signals.
[[noreturn]] void stop(const char *why) {
  for (const char *part : {"AMX emulation: ", why, "\n"})
    (void)!write(STDERR_FILENO, part, std::strlen(part));
  _exit(EXIT_FAILURE);
}

void require(bool holds, const char *why) {
  if (!holds)
    stop(why);
}

//===-- Decoding --------------------------------------------------------------------------------------------------===//

/// What VEX calls the prefixes that it stands for.
enum Prefix : unsigned { None, P66, PF3, PF2 };

/// An instruction of three-byte VEX in map 0F38.
struct Instruction {
  Prefix prefix;
  uint8_t opcode;
  bool inMemory;          ///< the operand of r/m
  unsigned reg, rm, vvvv; ///< registers; rm only out of memory
  const uint8_t *address; ///< of the operand in memory, its index left out
  int64_t stride;         ///< the scaled index
  int64_t length;
};

/// A general register by its number in encodings.
int64_t generalRegister(const ucontext_t &context, unsigned number) {
  static constexpr int places[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                   REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  return context.uc_mcontext.gregs[places[number]];
}

Instruction decode(const ucontext_t &context) {
  const auto *start = reinterpret_cast<const uint8_t *>(context.uc_mcontext.gregs[REG_RIP]), *at = start;
  require(at[0] == 0xC4 && (at[1] & 0x1F) == 2 && !(at[2] & 0x84), "expected an instruction on tiles, found another that traps");
  unsigned r = at[1] & 0x80 ? 0 : 8, x = at[1] & 0x40 ? 0 : 8, b = at[1] & 0x20 ? 0 : 8;
  Instruction i = {};
  i.prefix = static_cast<Prefix>(at[2] & 3);
  i.vvvv = ~(at[2] >> 3) & 15;
  i.opcode = at[3];
  unsigned mod = at[4] >> 6, rm = at[4] & 7;
  i.reg = (at[4] >> 3 & 7) + r;
  at += 5;
  i.inMemory = mod != 3;
  if (!i.inMemory) {
    i.rm = rm + b;
    i.length = at - start;
    return i;
  }
  int64_t address = 0;
  bool baseless = mod == 0 && rm == 5; // relative to the next instruction
  bool relative = baseless;
  if (rm == 4) {
    unsigned sib = *at++, index = (sib >> 3 & 7) + x, base = (sib & 7) + b;
    if (index != 4)
      i.stride = generalRegister(context, index) << (sib >> 6);
    baseless = mod == 0 && (sib & 7) == 5;
    if (!baseless)
      address = generalRegister(context, base);
  } else if (!baseless) {
    address = generalRegister(context, rm + b);
  }
  if (mod == 1) {
    address += static_cast<int8_t>(*at++);
  } else if (mod == 2 || baseless) {
    int32_t displacement;
    std::memcpy(&displacement, at, sizeof(displacement));
    at += sizeof(displacement);
    address += displacement;
  }
  i.length = at - start;
  i.address = reinterpret_cast<const uint8_t *>(relative ? address + reinterpret_cast<int64_t>(at) : address);
  return i;
}

//===-- Instructions ----------------------------------------------------------------------------------------------===//

void configure(const uint8_t *config) {
  require(config[0] == 1, "expected a configuration of palette 1");
  for (int i = 0; i < kTiles; ++i) {
    Tile &tile = tiles[i] = {};
    uint16_t bytes;
    std::memcpy(&bytes, config + 16 + 2 * i, sizeof(bytes));
    tile.bytes = bytes, tile.rows = config[48 + i];
    require(tile.bytes <= kRowBytes && tile.rows <= kMostRows && !tile.bytes == !tile.rows,
            "expected a configuration of at most 16 rows of 64 bytes");
  }
}

Tile &tileOf(unsigned number) {
  require(number < kTiles, "expected a tile's number below 8");
  require(tiles[number].rows > 0, "expected a tile that the configuration describes");
  return tiles[number];
}

void clear(Tile &tile) { std::memset(tile.data, 0, sizeof(tile.data)); }

void loadTile(Tile &tile, const Instruction &i) {
  clear(tile);
  for (int row = 0; row < tile.rows; ++row)
    std::memcpy(tile.data[row], i.address + row * i.stride, tile.bytes);
}

void storeTile(const Tile &tile, const Instruction &i) {
  for (int row = 0; row < tile.rows; ++row)
    std::memcpy(const_cast<uint8_t *>(i.address) + row * i.stride, tile.data[row], tile.bytes);
}

void requireShapes(const Tile &sum, const Tile &left, const Tile &right) {
  require(sum.rows == left.rows && sum.bytes == right.bytes && left.bytes == 4 * right.rows,
          "expected tiles of shapes that multiply: sums [m, n], left [m, k], right [k, n]");
}

/// sums[m, n] += left[m, 4 k + j] right[k, 4 n + j], summed over k and j.
template <typename Left, typename Right> void multiplyBytes(Tile &sum, const Tile &left, const Tile &right) {
  requireShapes(sum, left, right);
  for (int m = 0; m < sum.rows; ++m)
    for (int n = 0; n < sum.bytes / 4; ++n) {
      auto total = sum.get<uint32_t>(m, n);
      for (int k = 0; k < right.rows; ++k)
        for (int j = 0; j < 4; ++j)
          total += static_cast<uint32_t>(left.get<Left>(m, 4 * k + j) * right.get<Right>(k, 4 * n + j));
      sum.set(m, n, total);
    }
}

float fromBF16(uint16_t bits) {
  uint32_t word = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &word, sizeof(value));
  return value;
}

/// sums[m, n] += left[m, 2 k + j] right[k, 2 n + j], summed over k and j: even and odd columns apart, as the CPU does.
void multiplyBF16(Tile &sum, const Tile &left, const Tile &right) {
  requireShapes(sum, left, right);
  for (int m = 0; m < sum.rows; ++m)
    for (int n = 0; n < sum.bytes / 4; ++n) {
      float parts[2] = {};
      for (int k = 0; k < right.rows; ++k)
        for (int j = 0; j < 2; ++j)
          parts[j] = __builtin_fmaf(fromBF16(left.get<uint16_t>(m, 2 * k + j)), fromBF16(right.get<uint16_t>(k, 2 * n + j)), parts[j]);
      sum.set(m, n, sum.get<float>(m, n) + (parts[0] + parts[1]));
    }
}

void execute(const Instruction &i) {
  if (i.opcode == 0x49 && i.prefix == None && i.inMemory)
    return configure(i.address);
  if (i.opcode == 0x49 && i.prefix == None) {
    for (Tile &tile : tiles)
      tile = {};
    return;
  }
  if (i.opcode == 0x49 && i.prefix == PF2 && !i.inMemory)
    return clear(tileOf(i.reg));
  if (i.opcode == 0x4B && i.inMemory && i.prefix == PF3)
    return storeTile(tileOf(i.reg), i);
  if (i.opcode == 0x4B && i.inMemory && (i.prefix == PF2 || i.prefix == P66))
    return loadTile(tileOf(i.reg), i);
  require(!i.inMemory && (i.opcode == 0x5C || i.opcode == 0x5E), "expected an instruction on tiles that is known here");
  Tile &sum = tileOf(i.reg);
  const Tile &left = tileOf(i.rm), &right = tileOf(i.vvvv);
  if (i.opcode == 0x5C) {
    require(i.prefix == PF3, "expected tdpbf16ps of the products of floats");
    return multiplyBF16(sum, left, right);
  }
  switch (i.prefix) {
  case None: return multiplyBytes<uint8_t, uint8_t>(sum, left, right);
  case P66: return multiplyBytes<uint8_t, int8_t>(sum, left, right);
  case PF3: return multiplyBytes<int8_t, uint8_t>(sum, left, right);
  case PF2: return multiplyBytes<int8_t, int8_t>(sum, left, right);
  }
}

void onIllegalInstruction(int, siginfo_t *, void *context) {
  auto &machine = *static_cast<ucontext_t *>(context);
  Instruction i = decode(machine);
  execute(i);
  machine.uc_mcontext.gregs[REG_RIP] += i.length;
}

bool isAmx(const std::string &feature) { return feature.starts_with("amx-"); }

} // namespace

void provideAmx() {
  if (requireCpuFeatures("amx-tile,amx-bf16,amx-int8", "sapphirerapids"))
    return;
  struct sigaction action = {};
  action.sa_sigaction = onIllegalInstruction;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, nullptr);
}

std::string withoutAmx(const std::string &features) {
  std::istringstream list(features);
  std::string result;
  for (std::string feature; std::getline(list, feature, ',');)
    if (!isAmx(feature))
      result += (result.empty() ? "" : ",") + feature;
  return result;
}

} // namespace qwench::test
