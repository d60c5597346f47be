// Linear maps. A tile is a block of rows by a group of weight panels; within it all rows pass over one panel after the
// other.
#include "compiler/target/linear_map.h"
#include "compiler/target/x86/kernels.h"
#include "compiler/target/x86/panel_product.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;
using namespace qwench::qwen;

namespace {

int64_t panelsOf(Value param) {
  WeightOp weight = lookupWeight(param);
  auto type = cast<RankedTensorType>(weight.getType());
  return weight.getLayout()->paddedOutputs(type.getDimSize(type.getRank() - 2)) / kPanel;
}

/// Finishes one row of a panel's products: bias, activation, residual, store.
struct Epilogue {
  std::optional<Rows> residual;
  std::optional<Weight> bias;
  Rows out;
  bool swiglu;

  void emit(KernelBuilder &b, Value first, Value second, Value row, Value panel) const {
    Value column = b.mul(panel, swiglu ? kPanel / 2 : kPanel);
    Value halves[2] = {first, second};
    if (bias) // never with gate and up, which supports() refuses: their halves are not neighbours in the bias
      for (int64_t j = 0; j < 2; ++j)
        halves[j] = b.addf(halves[j], b.load(bias->memory, b.add(column, j * kLanes)));
    Value target = b.add(b.mul(row, out.stride), column);
    auto finish = [&](Value value, int64_t offset) {
      if (residual)
        value = b.addf(value, b.load(residual->memory, b.add(b.add(b.mul(row, residual->stride), column), offset)));
      b.store(value, out.memory, b.add(target, offset));
    };
    if (swiglu)
      return finish(b.swiglu(halves[0], halves[1]), 0);
    finish(halves[0], 0);
    finish(halves[1], kLanes);
  }
};

} // namespace

Value x86::linearTiles(KernelBuilder &b, Operation *op) {
  LinearMap map(op);
  ArrayRef<int64_t> tile = tileSizes(op);
  int64_t columns = llvm::divideCeil(panelsOf(map.weight) * kPanel, tile[1]);
  return b.mul(b.ceilDiv(b.rowsOf(map.dest), tile[0]), columns);
}

void x86::emitLinear(KernelBuilder &b, Operation *op) {
  LinearMap map(op);
  Rows in = b.rows(map.input), out = b.rows(map.dest);
  Weight w = b.weight(map.weight);
  Epilogue epilogue{std::nullopt, std::nullopt, out, map.swiglu};
  if (map.residual)
    epilogue.residual = b.rows(map.residual);
  if (map.bias)
    epilogue.bias = b.weight(map.bias);

  ArrayRef<int64_t> tile = tileSizes(op);
  int64_t panelsPerTile = tile[1] / kPanel, columnTiles = llvm::divideCeil(w.panels(), panelsPerTile);
  auto [begin, end] = b.tileRange(b.div(b.tile, columnTiles), b.rowsOf(map.dest), tile[0]);
  auto [firstPanel, lastPanel] = b.tileRange(b.rem(b.tile, columnTiles), b.index(w.panels()), panelsPerTile);

  PanelProduct product{in, w, tile[2]};
  Value count = b.sub(end, begin), first = begin;
  product.listRows(b, count, [&](Value i) { return b.add(first, i); });
  product.consecutive = true;
  b.loop(firstPanel, lastPanel, 1, [&](Value panel) {
    product.emit(b, b.mul(panel, w.panelStride()), count, [&](Value row, Value lower, Value upper) {
      epilogue.emit(b, lower, upper, b.add(first, row), panel);
    });
  });
}
