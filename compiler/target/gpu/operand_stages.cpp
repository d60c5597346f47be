#include "compiler/target/gpu/operand_stages.h"

using namespace mlir;

namespace qwench::gpu {

namespace {

/// Inputs of a step: pieces enough that rows are swizzled (StagedRows), which a warpgroup's products take as far as rows go.
constexpr int64_t kStep = 32, kWarpgroupStep = 64;

/// Most stages of a ring: with two steps on their way, memory has the time of two multiplications to answer. Products that go on
/// beside their threads keep one more.
constexpr int64_t kMostStages = 3;

/// Blocks of a multiprocessor that workgroup memory is to be enough for: one begins and ends tiles while the other multiplies.
constexpr int64_t kWarpgroupBlocks = 2;

/// Steps of a row that an assembler unrolls as a whole.
constexpr int64_t kShortLoop = 16;

} // namespace

//===-- Columns ---------------------------------------------------------------------------------------------------===//

Value TileColumns::weightRow(KernelBuilder &b, Value place) const {
  if (!swiglu)
    return b.min(b.add(first, place), b.index(outputs - 1));
  Value part = b.div(place, ofPart), within = b.rem(place, ofPart);
  Value column = b.add(b.add(first, b.mul(part, ofPart / 2)), b.rem(within, ofPart / 2));
  return b.add(b.min(column, b.index(outputs - 1)), b.mul(b.div(within, ofPart / 2), outputs));
}

Value TileColumns::place(KernelBuilder &b, Value panel, int64_t lane, int64_t lanes) const {
  if (!swiglu)
    return b.add(b.mul(panel, lanes), lane);
  Value column = b.add(b.mul(panel, lanes / 2), lane % (lanes / 2));
  Value part = b.mul(b.div(column, ofPart / 2), ofPart);
  return b.add(b.add(part, b.rem(column, ofPart / 2)), lane / (lanes / 2) * (ofPart / 2));
}

//===-- Floats ----------------------------------------------------------------------------------------------------===//

TileOperands::FloatRows::FloatRows(KernelBuilder &b, Value memory, int64_t width, int64_t step, int64_t rows, int64_t firstRow,
                                   llvm::function_ref<Value(Value)> rowStart)
    : memory(memory), width(width), step(step) {
  const int64_t ofRow = step / kPiece, apart = b.threads() / ofRow;
  Value row = b.div(b.thread, ofRow), piece = b.rem(b.thread, ofRow);
  input = b.mul(piece, kPiece);
  target = b.add(StagedRows{{}, {}, step}.place(b, row, piece), firstRow * step);
  targetStep = apart * step;
  for (int64_t first = 0; first < rows; first += apart)
    starts.push_back(rowStart(b.add(row, first)));
}

/// The pieces of the step from input `k` on; zeros behind the inputs.
SmallVector<Value> TileOperands::FloatRows::load(KernelBuilder &b, Value k) const {
  Value at = b.add(k, input), near = b.min(at, b.index(width - kPiece));
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(b.vectorOf(kPiece, b.getBF16Type())));
  Values pieces;
  for (Value start : starts) {
    Value piece = b.loadRaw(memory, b.add(start, near));
    pieces.push_back(width % step ? b.select(b.less(at, b.index(width)), piece, zero) : piece);
  }
  return pieces;
}

void TileOperands::FloatRows::store(KernelBuilder &b, ValueRange pieces, Value staged, Value stage) const {
  for (auto [i, piece] : llvm::enumerate(pieces))
    b.storeRaw(piece, staged, b.add(b.add(stage, target), i * targetStep));
}

/// Tokens of copies of what load() would give.
SmallVector<Value> TileOperands::FloatRows::copy(KernelBuilder &b, Value k, Value staged, Value stage) const {
  Value at = b.add(k, input), inside = b.less(at, b.index(width));
  Values copies;
  for (auto [i, start] : llvm::enumerate(starts))
    copies.push_back(b.copyPiece(memory, b.add(start, at), staged, b.add(b.add(stage, target), i * targetStep), inside));
  return copies;
}

//===-- Codes -----------------------------------------------------------------------------------------------------===//

TileOperands::CodePanels::CodePanels(KernelBuilder &b, const WeightPanel &panel, int64_t padded, int64_t step,
                                     const TileColumns &columns, int64_t firstRow)
    : panel(panel), columns(columns), padded(padded), step(step), pieces(columns.count / panel.rows() * step / kPiece),
      firstRow(firstRow) {
  int64_t perPanel = columns.swiglu ? panel.rows() / 2 : panel.rows(), last = (columns.outputs - 1) / perPanel;
  for (int64_t first = 0; first < pieces; first += b.threads()) {
    Value piece = b.add(b.thread, first), number = b.div(piece, step / kPiece);
    panels.push_back(number);
    inputs.push_back(b.rem(piece, step / kPiece));
    starts.push_back(panel.start(b, columns.matrix, b.min(b.add(b.div(columns.first, perPanel), number), b.index(last))));
  }
}

/// What is behind the inputs meets zeros of the other operand.
SmallVector<Value> TileOperands::CodePanels::load(KernelBuilder &b, Value k) const {
  Values loaded;
  for (auto [start, piece] : llvm::zip(starts, inputs))
    llvm::append_range(loaded, panel.load(b, start, b.min(b.add(k, b.mul(piece, kPiece)), b.index(padded - kPiece))));
  return loaded;
}

void TileOperands::CodePanels::store(KernelBuilder &b, ValueRange loaded, Value staged, Value stage) const {
  StagedRows rows{staged, b.add(stage, firstRow * step), step};
  size_t each = loaded.size() / starts.size();
  for (size_t i = 0; i < starts.size(); ++i) {
    auto move = [&] {
      for (auto [lane, row] : llvm::enumerate(panel.values(b, loaded.slice(i * each, each)))) {
        Value rounded = arith::TruncFOp::create(b, b.vectorOf(kPiece, b.getBF16Type()), row);
        Value place = columns.place(b, panels[i], lane, panel.rows());
        b.storeRaw(rounded, staged, b.add(rows.start, rows.place(b, place, inputs[i])));
      }
    };
    if (pieces % b.threads()) // fewer steps than threads
      b.when(b.less(b.add(b.thread, i * b.threads()), b.index(pieces)), move);
    else
      move();
  }
}

//===-- Panels of floats -------------------------------------------------------------------------------------------===//

TileOperands::FloatPanels::FloatPanels(KernelBuilder &b, const PackedWeight &weight, const TileColumns &columns, int64_t stages,
                                       int64_t rows)
    : barriers(b, stages, columns.count / WeightRows::kRows), memory(weight.memory), width(weight.inputs()),
      panels(columns.count / WeightRows::kRows), rows(rows) {
  Value row = columns.weightRow(b, b.mul(b.rem(b.thread, panels), WeightRows::kRows));
  start = WeightRows(weight).panelStart(b, columns.matrix, b.div(row, WeightRows::kRows));
}

/// The step from input `k` on, if there is one.
void TileOperands::FloatPanels::copy(KernelBuilder &b, Value k, Value staged, Value stage, int64_t stageSize) const {
  constexpr int64_t size = WeightRows::kRows * WeightRows::kInputs;
  b.when(b.both(b.less(b.thread, b.index(panels)), b.less(k, b.index(width))), [&] {
    Value from = b.add(start, b.mul(k, WeightRows::kRows));
    Value to = b.add(b.add(stage, rows * WeightRows::kInputs), b.mul(b.thread, size));
    barriers.copy(b, b.div(stage, stageSize), memory, from, staged, to, size * 2);
  });
}

void TileOperands::FloatPanels::await(KernelBuilder &b, Value k, Value stage, int64_t stageSize, int64_t stages) const {
  b.when(b.less(k, b.index(width)), [&] {
    barriers.await(b, b.div(stage, stageSize), b.div(k, WeightRows::kInputs * stages));
  });
}

//===-- Stages ----------------------------------------------------------------------------------------------------===//

int64_t TileOperands::stepOf(KernelBuilder &b) { return b.device.matrix == MatrixUnit::Wgmma ? kWarpgroupStep : kStep; }

/// Stages of so many rows and columns together; 0 where there is too little workgroup memory.
int64_t TileOperands::stagesFor(KernelBuilder &b, int64_t rows) {
  bool together = b.device.matrix == MatrixUnit::Wgmma;
  int64_t most = kMostStages + together, bytes = b.device.sharedBytes / (together ? kWarpgroupBlocks : 1) - b.sharedBytes;
  int64_t room = bytes / (rows * stepOf(b) * 2);
  return !b.device.asyncCopies ? std::min<int64_t>(room, 1) : room < 2 ? 0 : std::min(room, most);
}

bool TileOperands::fit(KernelBuilder &b, int64_t rows, int64_t columns) {
  auto divides = [&](int64_t size) { return size % 64 == 0 && size * stepOf(b) / kPiece % b.threads() == 0; };
  return divides(rows) && divides(columns) && stagesFor(b, rows + columns) > 0;
}

TileOperands::TileOperands(KernelBuilder &b, const SubgroupProduct &product, int64_t rows,
                           llvm::function_ref<Value(Value)> rowStart, const TileColumns &columns)
    : async(b.device.asyncCopies), together(b.device.matrix == MatrixUnit::Wgmma), width(product.weight.inputs()), step(stepOf(b)),
      rows(rows), stages(stagesFor(b, rows + columns.count)), stageSize((rows + columns.count) * step),
      unread(together && stages > 2 ? 1 : 0), ahead(stages - 1 - unread),
      staged(b.shared(stages * stageSize, b.getBF16Type(), together ? WarpgroupUnit::kAlignment : kSharedGranule)),
      input(b, product.in.memory, width, step, rows, 0, rowStart) {
  int64_t padded = product.weight.layout.paddedInputs(width);
  if (product.panel)
    codes.emplace(b, *product.panel, padded, step, columns, rows);
  else if (WeightRows(product.weight).swizzled())
    floatPanels.emplace(b, product.weight, columns, stages, rows);
  else
    floats.emplace(b, product.weight.memory, width, step, columns.count, rows,
                   [&](Value place) { return b.add(columns.matrix, b.mul(columns.weightRow(b, place), padded)); });
}

/// A group of asynchronous copies.
Value TileOperands::copy(KernelBuilder &b, Value k, Value stage) const {
  Values copies = input.copy(b, k, staged, stage);
  if (floats)
    llvm::append_range(copies, floats->copy(b, k, staged, stage));
  if (floatPanels)
    floatPanels->copy(b, k, staged, stage, stageSize);
  return b.copyGroup(copies);
}

/// What passes through registers.
SmallVector<Value> TileOperands::load(KernelBuilder &b, Value k) const {
  Values loaded = async ? Values() : input.load(b, k);
  if (codes)
    llvm::append_range(loaded, codes->load(b, k));
  else if (!async)
    llvm::append_range(loaded, floats->load(b, k));
  return loaded;
}

void TileOperands::store(KernelBuilder &b, ValueRange loaded, Value stage) const {
  size_t ofInput = async ? 0 : input.starts.size();
  input.store(b, loaded.take_front(ofInput), staged, stage);
  if (codes)
    codes->store(b, loaded.drop_front(ofInput), staged, stage);
  else if (floats)
    floats->store(b, loaded.drop_front(ofInput), staged, stage);
}

/// The stage of the step from `k` on, the next one, is whole, for all threads. `copies`: the last group, which goes to the stage
/// `ahead` of the one before.
void TileOperands::arrive(KernelBuilder &b, Value copies, Value k, Value stage) const {
  if (copies)
    b.awaitCopies(copies, ahead - 1);
  if (floatPanels)
    floatPanels->await(b, k, stage, stageSize, stages);
  if (together)
    WarpgroupUnit::publish(b);
  b.barrier();
}

void TileOperands::awaitProducts(KernelBuilder &b, int64_t later) const {
  if (together)
    WarpgroupUnit::await(b, later);
}

SmallVector<Value> TileOperands::accumulate(KernelBuilder &b, Values sums, Multiply multiply) const {
  if (floatPanels)
    floatPanels->barriers.open(b);
  Value copies;
  Values state; // the stages, in the order in which they are multiplied, and the sums
  for (int64_t i = 0; i < stages; ++i) {
    state.push_back(b.index(i * stageSize));
    if (i < ahead)
      copies = copy(b, b.index(i * step), state.back());
  }
  store(b, load(b, b.index(0)), state.front());
  arrive(b, copies, b.index(0), state.front());
  llvm::append_range(state, sums);
  state = b.loop(b.index(0), b.index(width), step, state, [&](Value k, ValueRange now) {
    ValueRange ring = now.take_front(stages);
    Value group = async ? copy(b, b.add(k, ahead * step), ring[ahead]) : Value();
    Values loaded = load(b, b.add(k, step));
    StagedRows first{staged, ring.front(), step}, second{staged, b.add(ring.front(), rows * step), step};
    Values products = multiply(first, second, now.drop_front(stages));
    awaitProducts(b, unread);
    if (!async)
      b.barrier(); // the one stage is read
    store(b, loaded, ring[1 % stages]);
    arrive(b, group, b.add(k, step), ring[1 % stages]);
    KernelBuilder::Yield next(ring.drop_front());
    next.push_back(ring.front());
    llvm::append_range(next, products);
    return next;
  });
  // Of a short loop unrolled as a whole, ptxas 13.0 keeps the operands of several steps in more registers than there are.
  if (width <= kShortLoop * step)
    b.keepRolled(state);
  if (async) // copies of zeros behind the inputs are on their way to where the next tile's will go
    b.awaitCopies(b.copyGroup({}), 0);
  if (unread) {
    awaitProducts(b, 0);
    b.barrier();
  }
  if (floatPanels)
    floatPanels->barriers.close(b);
  return llvm::to_vector(ArrayRef(state).drop_front(stages));
}

} // namespace qwench::gpu
