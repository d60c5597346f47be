// Products of a warpgroup, four subgroups together: they read workgroup memory as their descriptors say, go on beside the
// threads, and give their sums to those that have waited for them.
#include "tests/gpu-on-cpu/running.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace qwench::gpu_on_cpu {

namespace {

constexpr int64_t kWarpgroup = 128, kRows = 64, kInputs = 16, kPieceInputs = 8;

/// A matrix whose rows' inputs follow one another in memory ("K-major"): fields and swizzles of PTX ISA 9.0, "Matrix Descriptor
/// Format" and "Swizzling Modes".
struct Matrix {
  uint64_t start, leading, stride, baseOffset, swizzle;

  explicit Matrix(uint64_t descriptor)
      : start((descriptor & 0x3fff) << 4), leading((descriptor >> 16 & 0x3fff) << 4), stride((descriptor >> 32 & 0x3fff) << 4),
        baseOffset(descriptor >> 49 & 7), swizzle(descriptor >> 62) {}

  /// Byte of workgroup memory of piece `piece`, 16 bytes, of a row. A swizzle of 2^n pieces exchanges them by n bits of the
  /// address from bit 7 on.
  uint64_t place(int64_t row, int64_t piece) const {
    if (swizzle == 0) // 8 rows of a piece one after another
      return start + row / 8 * stride + piece * leading + row % 8 * 16;
    const int bits = 4 - static_cast<int>(swizzle); // 128, 64 or 32 bytes
    const uint64_t at = start + row / 8 * stride + row % 8 * (16u << bits) + piece * 16;
    return at ^ ((at >> 7 & ((1u << bits) - 1)) << 4);
  }
};

template <typename Visit> void forPieces(const Matrix &matrix, int64_t rows, Visit visit) {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t piece = 0; piece < kInputs / kPieceInputs; ++piece)
      visit(matrix.place(row, piece), row, piece);
}

} // namespace

/// Whether what a product is to read is there: written before a barrier, and made visible to products before it.
void Executor::Block::beginReading(const Product &product, int64_t first) {
  auto begin = [&](uint64_t descriptor, int64_t rows) {
    Matrix matrix(descriptor);
    if (matrix.baseOffset)
      fail("a matrix of a base offset, which is not known here");
    forPieces(matrix, rows, [&](uint64_t offset, int64_t, int64_t) {
      for (uint64_t i = offset; i < offset + 16 && ok(); ++i) {
        auto place = [i] { return " of workgroup memory at byte " + std::to_string(i); };
        if (i >= sharedBytes.size())
          return fail("a product that reads behind workgroup memory" + at(*current));
        SharedByte &byte = sharedBytes[i];
        if (byte.writer < 0)
          return fail("a product's read" + place() + ", which nothing wrote");
        if (byte.awaited)
          return fail("a product's read" + place() + ", which an asynchronous copy is on its way to");
        const bool told = byte.barrier >= 0 && (i > offset || haveSeen(byte, first, kWarpgroup)); // a piece comes at once
        if (byte.written == phase && !told)
          return fail("a product's read" + place() + ", which was written since the last barrier");
        if (!byte.published)
          return fail("a product's read" + place() + ", which no fence has made visible to products");
        byte.products++;
      }
    });
  };
  begin(product.a, kRows);
  begin(product.b, product.columns);
}

void Executor::Block::endReading(const Product &product) {
  auto end = [&](uint64_t descriptor, int64_t rows) {
    forPieces(Matrix(descriptor), rows, [&](uint64_t offset, int64_t, int64_t) {
      for (uint64_t i = offset; i < offset + 16; ++i)
        sharedBytes[i].products--, sharedBytes[i].reader = -2, sharedBytes[i].read = phase;
    });
  };
  end(product.a, kRows);
  end(product.b, product.columns);
}

bool Executor::Block::multiplyWarpgroup(int64_t first) {
  for (int64_t i = first; i < first + kWarpgroup; ++i)
    if (i >= shape->threads || threads[i]->state != State::AtWarpgroup || threads[i]->site != threads[first]->site)
      return false;
  const Product made = threads[first]->product;
  for (int64_t i = first; i < first + kWarpgroup; ++i) {
    Thread &thread = *threads[i];
    current = &thread;
    if (thread.product.a != made.a || thread.product.b != made.b || thread.product.before != made.before)
      fail("operands of a product that differ within a warpgroup" + at(thread));
    if (!thread.fenced)
      fail("a product without a fence behind accesses to its registers" + at(thread));
    thread.state = State::Ready;
  }
  if (ok())
    beginReading(made, first);
  current = nullptr;
  products.push_back(made);
  for (int64_t i = first; i < first + kWarpgroup; ++i)
    threads[i]->ticket = static_cast<int32_t>(products.size()), threads[i]->begun = threads[i]->ticket;
  return ok();
}

/// The sums, when somebody waits for them: those before it are there.
void Executor::Block::compute(Product &product) {
  product.sums.assign(kRows * product.columns, 0);
  if (product.before)
    product.sums = std::move(products[product.before - 1].sums);
  auto read = [&](uint64_t descriptor, int64_t rows) {
    std::vector<float> values(rows * kInputs);
    forPieces(Matrix(descriptor), rows, [&](uint64_t offset, int64_t row, int64_t piece) {
      for (int64_t i = 0; i < kPieceInputs; ++i) {
        uint16_t half;
        std::memcpy(&half, shared.data() + offset + 2 * i, 2);
        values[row * kInputs + piece * kPieceInputs + i] = std::bit_cast<float>(static_cast<uint32_t>(half) << 16);
      }
    });
    return values;
  };
  const std::vector<float> a = read(product.a, kRows), b = read(product.b, product.columns);
  for (int64_t row = 0; row < kRows; ++row)
    for (int64_t column = 0; column < product.columns; ++column)
      for (int64_t k = 0; k < kInputs; ++k)
        product.sums[row * product.columns + column] += a[row * kInputs + k] * b[column * kInputs + k];
}

void Executor::Block::finishProducts(size_t later) {
  auto &groups = current->productGroups;
  for (; groups.size() > later && ok(); groups.erase(groups.begin()))
    for (int32_t ticket = current->awaitedProduct + 1; ticket <= groups.front(); ++ticket) {
      Product &product = products[ticket - 1];
      if (product.waiters++ == 0)
        compute(product);
      if (product.waiters == kWarpgroup)
        endReading(product);
      current->awaitedProduct = ticket;
    }
}

//===-- What kernels call -----------------------------------------------------------------------------------------===//

static int32_t multiply(void *pointer, int32_t site, int64_t columns, int64_t a, int64_t b, int32_t before) {
  auto &block = *static_cast<Executor::Block *>(pointer);
  auto &thread = *block.current;
  thread.site = site;
  thread.product = {columns, static_cast<uint64_t>(a), static_cast<uint64_t>(b), before, 0, {}};
  block.wait(State::AtWarpgroup);
  return thread.ticket;
}

/// Element `i` of a thread's sums.
static float sum(void *pointer, int32_t ticket, int64_t i) {
  auto &block = *static_cast<Executor::Block *>(pointer);
  auto &thread = *block.current;
  thread.fenced = false;
  if (ticket == 0)
    return 0;
  if (ticket > thread.awaitedProduct)
    block.fail("a read of sums of products that nothing waited for");
  const Product &product = block.products[ticket - 1];
  const int64_t lane = thread.index % 32, subgroup = thread.index % kWarpgroup / 32;
  const size_t row = subgroup * 16 + lane / 4 + i % 4 / 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
  if (block.ok() && product.sums.empty())
    block.fail("a read of sums whose registers a later product has");
  return block.ok() ? product.sums[row * product.columns + column] : 0;
}

static void fence(void *pointer) { static_cast<Executor::Block *>(pointer)->current->fenced = true; }

static void group(void *pointer) {
  auto &thread = *static_cast<Executor::Block *>(pointer)->current;
  thread.productGroups.push_back(thread.begun);
}

static void await(void *pointer, int32_t later) { static_cast<Executor::Block *>(pointer)->finishProducts(later); }

/// What the thread wrote becomes visible to products; not what copies will write.
static void publish(void *pointer) {
  auto &block = *static_cast<Executor::Block *>(pointer);
  auto &thread = *block.current;
  for (auto [offset, bytes] : thread.unpublished)
    for (uint64_t i = offset; i < offset + bytes; ++i)
      block.sharedBytes[i].published |= block.sharedBytes[i].writer == thread.index && !block.sharedBytes[i].awaited;
  thread.unpublished.clear();
}

std::vector<Function> warpgroupFunctions() {
  return {{"gpu_warpgroup_multiply", reinterpret_cast<void *>(multiply)}, {"gpu_warpgroup_sum", reinterpret_cast<void *>(sum)},
          {"gpu_warpgroup_fence", reinterpret_cast<void *>(fence)},       {"gpu_warpgroup_group", reinterpret_cast<void *>(group)},
          {"gpu_warpgroup_wait", reinterpret_cast<void *>(await)},        {"gpu_publish", reinterpret_cast<void *>(publish)}};
}

} // namespace qwench::gpu_on_cpu
