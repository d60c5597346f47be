// Asking memory for weights before the launch that multiplies them begins. What is asked for wrongly costs time, never a result.
#include "compiler/target/gpu/kernels.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::gpu {

namespace {

/// Lines of the cache that a thread asks for ahead of its phase: 64 KiB of a block, 35 MB of four blocks on each of 132
/// multiprocessors, which have 50 MB of L2.
constexpr int64_t kLinesAhead = 4, kLineBytes = 128;

/// The launch that runs before this op's.
Operation *launchBefore(Operation *op) {
  do
    op = op->getPrevNode();
  while (op && !findTileProgram(op));
  return op;
}

/// `count` elements of a weight from `start` on.
struct Stretch {
  Value start;
  int64_t count;
};

} // namespace

void Columns::prefetch(KernelBuilder &b, Value thread, int64_t threads, int64_t sharers) const {
  SmallVector<Stretch> stretches;
  int64_t line = kLineBytes, halves = swiglu ? 2 : 1;
  if (QuantType quant = weight.quant()) {
    int64_t perPanel = WeightPanel::rowsOf(quant) / halves, panel = weight.panelStride();
    int64_t panels = llvm::divideCeil(columns, perPanel);
    stretches.push_back({b.mul(b.div(first, perPanel), panel), panels * panel});
  } else {
    int64_t row = weight.layout.paddedInputs(weight.inputs());
    line = kLineBytes * 8 / weight.type.getElementTypeBitWidth();
    for (int64_t half = 0; half < halves; ++half)
      stretches.push_back({b.mul(b.add(first, half * outputs), row), columns * row});
  }
  int64_t most = kLinesAhead * b.threads() / (sharers * static_cast<int64_t>(stretches.size()));
  for (auto [start, count] : stretches) {
    Value from = start;
    b.loop(thread, b.index(std::min<int64_t>(llvm::divideCeil(count, line), most)), threads, [&](Value i) {
      Value at = b.add(from, b.mul(i, line));
      b.when(b.less(at, b.index(weight.matrixStride())), [&] { b.prefetch(weight.memory, b.add(matrix, at)); });
    });
  }
}

/// A thread for each expert asks for the tile's columns of it, if the tile's row chose it.
void emitGroupedLinearCombineAhead(KernelBuilder &b, Operation *op) {
  auto combine = cast<GroupedLinearCombineOp>(op);
  if (isa_and_nonnull<DispatchOp, RouterDispatchOp>(launchBefore(op))) // which writes what is read here
    return;
  PackedWeight weight = b.weight(combine.getWeight());
  Value pairs = b.buffer(combine.getPairs()).memory, offsets = b.buffer(combine.getOffsets()).memory;
  int64_t k = b.buffer(combine.getWeights()).width, columns = tileSizes(op)[0];
  int64_t outputs = cast<MemRefType>(dest(op).getType()).getDimSize(1), columnTiles = llvm::divideCeil(outputs, columns);
  Value row = b.div(b.tile, columnTiles), first = b.mul(b.rem(b.tile, columnTiles), columns);
  b.forThreads(weight.type.getDimSize(0), [&](Value expert) {
    Value begin = b.toIndex(b.loadScalar(offsets, expert)), end = b.toIndex(b.loadScalar(offsets, b.add(expert, 1)));
    b.loop(begin, end, 1, [&](Value i) {
      Value mine = b.equal(b.div(b.toIndex(b.loadScalar(pairs, i)), k), row);
      b.when(mine, [&] {
        Columns asked{weight, b.mul(expert, weight.matrixStride()), first, columns, outputs, false};
        asked.prefetch(b, b.index(0), 1, k);
      });
    });
  });
}

} // namespace qwench::gpu
