// What a subgroup's lanes compute and load together on matrices.
#include "tests/gpu-on-cpu/running.h"

#include <bit>
#include <cstring>
#include <utility>

namespace qwench::gpu_on_cpu {

/// Bytes that all banks of workgroup memory hold side by side.
constexpr int64_t kBankBytes = 128;

/// Row (or column) and input of a lane's element of A (or B).
static std::pair<int64_t, int64_t> operandPlace(int32_t kind, bool isA, int64_t lane, int64_t i) {
  switch (kind) {
  case kMmaSync: { // registers of two: A's alternate between rows 0 and 8 first, then inputs 0 and 8
    int64_t word = i / 2, row = isA ? word % 2 * 8 : 0, input = isA ? word / 2 * 8 : word * 8;
    return {row + lane / 4, input + lane % 4 * 2 + i % 2};
  }
  case kMfma:
    return {lane % 16, lane / 16 * 4 + i};
  case kWmma11: // the upper half of the lanes repeats the lower
    return {lane % 16, i};
  default:
    return {lane % 16, lane / 16 * 8 + i};
  }
}

static std::pair<int64_t, int64_t> resultPlace(int32_t kind, int64_t lane, int64_t i) {
  switch (kind) {
  case kMmaSync:
    return {i / 2 * 8 + lane / 4, lane % 4 * 2 + i % 2};
  case kMfma:
    return {lane / 16 * 4 + i, lane % 16};
  case kWmma11:
    return {2 * i + lane / 16, lane % 16};
  default:
    return {lane / 16 * 8 + i, lane % 16};
  }
}

/// D = A B^T + C of 16 by 16 by 16 (or 8 columns), each product and sum in f32.
bool Executor::Block::multiplySubgroup(int64_t first) {
  if (!subgroupIsAt(State::AtMatrix, first))
    return false;
  int32_t kind = threads[first]->how;
  int64_t lanes = shape->subgroupSize, sums = kind == kMmaSync || kind == kMfma ? 4 : 8;
  if (lanes != (kind == kMfma ? 64 : 32)) {
    fail("a matrix product that a subgroup of " + std::to_string(lanes) + " does not have");
    return false;
  }
  int64_t elements[2] = {kind == kMmaSync || kind == kWmma12 ? 8 : kind == kMfma ? 4 : 16,
                         kind == kMmaSync || kind == kMfma ? 4 : kind == kWmma11 ? 16 : 8};
  float operands[2][16][16] = {};
  for (int64_t lane = 0; lane < lanes; ++lane)
    for (int which = 0; which < 2; ++which)
      for (int64_t i = 0; i < elements[which]; ++i) {
        uint16_t half;
        std::memcpy(&half, threads[first + lane]->operands + 32 * which + 2 * i, 2);
        auto [row, input] = operandPlace(kind, which == 0, lane, i);
        float value = std::bit_cast<float>(static_cast<uint32_t>(half) << 16), &place = operands[which][row][input];
        if (kind == kWmma11 && lane >= 16 && std::bit_cast<uint32_t>(place) != std::bit_cast<uint32_t>(value))
          fail("operands of a matrix product that differ between the halves of a subgroup");
        place = value;
      }
  for (int64_t lane = 0; lane < lanes; ++lane) {
    auto *c = reinterpret_cast<float *>(threads[first + lane]->operands + 64);
    for (int64_t i = 0; i < sums; ++i) {
      auto [row, column] = resultPlace(kind, lane, i);
      for (int64_t k = 0; k < 16; ++k)
        c[i] += operands[0][row][k] * operands[1][column][k];
    }
    threads[first + lane]->state = State::Ready;
  }
  return true;
}

/// Four matrices of 8 rows of 8 elements of two bytes: lanes 8 m to 8 m + 7 name the rows of matrix m. A lane is given two
/// neighbours of a row of each, or, transposed, of a column. Rows of a matrix that share banks would be read one after another.
bool Executor::Block::loadSubgroup(int64_t first) {
  if (!subgroupIsAt(State::AtLoad, first))
    return false;
  uint16_t matrices[4][8][8];
  for (int64_t lane = 0; lane < 32; ++lane) {
    const uint8_t *row = threads[first + lane]->row;
    for (int64_t other = lane / 8 * 8; other < lane; ++other)
      if ((row - threads[first + other]->row) % kBankBytes == 0)
        fail("rows of a matrix that share banks of workgroup memory" + at(*threads[first]));
    std::memcpy(matrices[lane / 8][lane % 8], row, 16);
  }
  for (int64_t lane = 0; lane < 32; ++lane) {
    Thread &thread = *threads[first + lane];
    auto *pairs = reinterpret_cast<uint16_t *>(thread.operands);
    for (int64_t m = 0; m < 4; ++m)
      for (int64_t i = 0; i < 2; ++i)
        pairs[2 * m + i] = thread.how ? matrices[m][lane % 4 * 2 + i][lane / 4] : matrices[m][lane / 4][lane % 4 * 2 + i];
    thread.state = State::Ready;
  }
  return true;
}

} // namespace qwench::gpu_on_cpu
