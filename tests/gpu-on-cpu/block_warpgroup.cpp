// Products of a warpgroup, four subgroups together: they read workgroup memory as their descriptors say, go on beside the
// threads, and give their sums to those that have waited for them.
#include "tests/gpu-on-cpu/matrix_descriptor.h"
#include "tests/gpu-on-cpu/running.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace qwench::gpu_on_cpu {

namespace {

constexpr int64_t kWarpgroup = 128, kRows = 64, kInputs = 16, kPiece = 8;
constexpr uint64_t kHeld = ~uint64_t(0); ///< instead of a descriptor of A

/// An operand in workgroup memory: visit(byte, element, step) for each piece, whose 8 elements of [rows, 16] are `step` apart.
template <typename Visit> void forPieces(uint64_t descriptor, bool transposed, int64_t rows, Visit visit) {
  MatrixDescriptor matrix(descriptor);
  for (int64_t row = 0; row < rows && !transposed; ++row)
    for (int64_t piece = 0; piece < kInputs / kPiece; ++piece)
      visit(matrix.kMajor(row, piece), row * kInputs + piece * kPiece, 1);
  for (int64_t input = 0; input < kInputs && transposed; ++input)
    for (int64_t piece = 0; piece < rows / kPiece; ++piece)
      visit(matrix.mnMajor(piece, input), piece * kPiece * kInputs + input, kInputs);
}

/// Those of a product: of A, unless it is in registers, and of B.
template <typename Visit> void forOperands(const Product &product, Visit visit) {
  if (product.left.empty())
    visit(product.a, false, kRows);
  visit(product.b, product.transposed, product.columns);
}

float fromHalf(uint32_t half) { return std::bit_cast<float>(half << 16); }

/// Row and column of A that half `half` of a lane's word `word` is of: Figure "WGMMA .m64nNk16 register fragment layout for matrix A".
std::pair<int64_t, int64_t> placeInA(int64_t thread, int64_t word, int64_t half) {
  const int64_t lane = thread % 32, row = thread / 32 * 16 + lane / 4 + word % 2 * 8;
  return {row, lane % 4 * 2 + half + word / 2 * 8};
}

/// Row and column of D that element `i` of a thread's is of.
std::pair<int64_t, int64_t> placeInD(int64_t thread, int64_t i) {
  const int64_t lane = thread % 32;
  return {thread / 32 * 16 + lane / 4 + i % 4 / 2 * 8, i / 4 * 8 + lane % 4 * 2 + i % 2};
}

} // namespace

/// Whether what a product is to read is there: written before a barrier, and made visible to products before it.
void Executor::Block::beginReading(const Product &product, int64_t first) {
  forOperands(product, [&](uint64_t descriptor, bool transposed, int64_t rows) {
    if (MatrixDescriptor(descriptor).baseOffset)
      fail("a matrix of a base offset, which is not known here");
    forPieces(descriptor, transposed, rows, [&](uint64_t offset, int64_t, int64_t) {
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
  });
}

void Executor::Block::endReading(const Product &product) {
  forOperands(product, [&](uint64_t descriptor, bool transposed, int64_t rows) {
    forPieces(descriptor, transposed, rows, [&](uint64_t offset, int64_t, int64_t) {
      for (uint64_t i = offset; i < offset + 16; ++i)
        sharedBytes[i].products--, sharedBytes[i].reader = -2, sharedBytes[i].read = phase;
    });
  });
}

/// What the product of a warpgroup's threads is: the first one's, with the rows of A and the sums that are in their registers.
Product Executor::Block::gatherProduct(int64_t first) {
  Product made = threads[first]->product;
  const bool words = made.a == kHeld, sums = made.before < 0;
  if (words)
    made.left.assign(kRows * kInputs, 0);
  if (sums)
    made.sums.assign(kRows * made.columns, 0);
  for (int64_t i = 0; i < kWarpgroup; ++i) {
    Thread &thread = *threads[first + i];
    for (int64_t half = 0; half < 8 && words; ++half) {
      auto [row, input] = placeInA(i, half / 2, half % 2);
      made.left[row * kInputs + input] = fromHalf(thread.words[half / 2] >> half % 2 * 16 & 0xffff);
    }
    for (int64_t e = 0; e < made.columns / 2 && sums; ++e) {
      auto [row, column] = placeInD(i, e);
      made.sums[row * made.columns + column] = thread.held[-thread.product.before - 1][e];
    }
  }
  return made;
}

bool Executor::Block::multiplyWarpgroup(int64_t first) {
  for (int64_t i = first; i < first + kWarpgroup; ++i)
    if (i >= shape->threads || threads[i]->state != State::AtWarpgroup || threads[i]->site != threads[first]->site)
      return false;
  const Product made = gatherProduct(first);
  for (int64_t i = first; i < first + kWarpgroup; ++i) {
    Thread &thread = *threads[i];
    current = &thread;
    if (thread.product.a != made.a || thread.product.b != made.b ||
        std::max(thread.product.before, 0) != std::max(made.before, 0)) // others are numbers of the thread's own
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
  if (product.before > 0)
    product.sums = std::move(products[product.before - 1].sums);
  product.sums.resize(kRows * product.columns, 0);
  auto read = [&](uint64_t descriptor, bool transposed, int64_t rows) {
    std::vector<float> values(rows * kInputs);
    forPieces(descriptor, transposed, rows, [&](uint64_t offset, int64_t element, int64_t step) {
      for (int64_t i = 0; i < kPiece; ++i) {
        uint16_t half;
        std::memcpy(&half, shared.data() + offset + 2 * i, 2);
        values[element + i * step] = fromHalf(half);
      }
    });
    return values;
  };
  const std::vector<float> a = product.left.empty() ? read(product.a, false, kRows) : product.left;
  const std::vector<float> b = read(product.b, product.transposed, product.columns);
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

static int32_t beginProduct(void *pointer, int32_t site, const Product &product) {
  auto &block = *static_cast<Executor::Block *>(pointer);
  auto &thread = *block.current;
  thread.site = site;
  thread.product = product;
  block.wait(State::AtWarpgroup);
  return thread.ticket;
}

static int32_t multiply(void *pointer, int32_t site, int64_t columns, int64_t a, int64_t b, int32_t transposed, int32_t before) {
  return beginProduct(pointer, site, {columns, static_cast<uint64_t>(a), static_cast<uint64_t>(b), transposed != 0, before, 0, {}, {}});
}

/// With A in registers.
static int32_t multiplyHeld(void *pointer, int32_t site, int64_t columns, int32_t a0, int32_t a1, int32_t a2, int32_t a3, int64_t b,
                            int32_t transposed, int32_t before) {
  auto &words = static_cast<Executor::Block *>(pointer)->current->words;
  words = {static_cast<uint32_t>(a0), static_cast<uint32_t>(a1), static_cast<uint32_t>(a2), static_cast<uint32_t>(a3)};
  return beginProduct(pointer, site, {columns, kHeld, static_cast<uint64_t>(b), transposed != 0, before, 0, {}, {}});
}

/// Element `i` of a thread's sums.
static float sum(void *pointer, int32_t ticket, int64_t i) {
  auto &block = *static_cast<Executor::Block *>(pointer);
  auto &thread = *block.current;
  thread.fenced = false;
  if (ticket <= 0)
    return ticket ? thread.held[-ticket - 1][i] : 0;
  if (ticket > thread.awaitedProduct)
    block.fail("a read of sums of products that nothing waited for");
  const Product &product = block.products[ticket - 1];
  auto [row, column] = placeInD(thread.index % kWarpgroup, i);
  if (block.ok() && product.sums.empty())
    block.fail("a read of sums whose registers a later product has");
  return block.ok() ? product.sums[row * product.columns + column] : 0;
}

/// The number of a thread's sums in registers of their own, to which one is added: 0 begins new ones.
static int32_t hold(void *pointer, int32_t held, float value) {
  auto &thread = *static_cast<Executor::Block *>(pointer)->current;
  thread.fenced = false;
  if (held == 0)
    thread.held.emplace_back();
  held = -static_cast<int32_t>(thread.held.size());
  thread.held.back().push_back(value);
  return held;
}

/// Words of A are set.
static void holdWords(void *pointer) { static_cast<Executor::Block *>(pointer)->current->fenced = false; }

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
          {"gpu_warpgroup_multiply_held", reinterpret_cast<void *>(multiplyHeld)},
          {"gpu_warpgroup_hold", reinterpret_cast<void *>(hold)}, {"gpu_warpgroup_hold_words", reinterpret_cast<void *>(holdWords)},
          {"gpu_warpgroup_fence", reinterpret_cast<void *>(fence)},       {"gpu_warpgroup_group", reinterpret_cast<void *>(group)},
          {"gpu_warpgroup_wait", reinterpret_cast<void *>(await)},        {"gpu_publish", reinterpret_cast<void *>(publish)}};
}

} // namespace qwench::gpu_on_cpu
