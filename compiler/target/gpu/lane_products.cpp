#include "compiler/target/gpu/lane_products.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace qwench::gpu {

void LaneProducts::converge(KernelBuilder &b) { NVVM::SyncWarpOp::create(b, b.i32(-1)); }

Value LaneProducts::multiply(KernelBuilder &b, ValueRange weights, Value inputs, Value sums) const {
  auto pair = [&](Value piece, int64_t i) -> Value {
    return vector::ShuffleOp::create(b, piece, piece, ArrayRef<int64_t>{2 * i, 2 * i + 1});
  };
  // A lane has four inputs of a fragment, as two pairs: of A each pair of one row, then of the other.
  for (int64_t i = 0; i < kPiece / 2; i += 2)
    sums = fragments.multiply(b, {pair(weights[0], i), pair(weights[1], i), pair(weights[0], i + 1), pair(weights[1], i + 1)},
                              {pair(inputs, i), pair(inputs, i + 1)}, sums);
  return sums;
}

Value LaneProducts::factors(KernelBuilder &b, ValueRange ofRows) const {
  Values factors;
  for (int64_t i = 0; i < fragments.sums(); ++i)
    factors.push_back(ofRows[fragments.rowOfElement(i)]);
  return vector::FromElementsOp::create(b, b.floats(fragments.sums()), factors);
}

SmallVector<Value> LaneProducts::results(KernelBuilder &b, Value sums) const {
  Value group = b.div(quad(b), rows), firstColumn = fragments.laneColumn(b);
  Values results;
  for (int64_t row = 0; row < kWeightRows; ++row) {
    Value own = b.f32(0);
    for (int64_t i = 0; i < fragments.sums(); ++i) {
      if (fragments.rowOfElement(i) != row)
        continue;
      Value same = b.equal(b.rem(b.add(firstColumn, fragments.columnOffset(i)), groups), group);
      own = b.select(same, b.extract(sums, i), own);
    }
    // The lanes with the row's columns, then those with the panel's rows.
    own = b.reduce(KernelBuilder::Reduction::ADD, own, kLanesOfGroup / rows);
    results.push_back(b.reduce(KernelBuilder::Reduction::ADD, own, groups, kLanesOfGroup * rows));
  }
  return results;
}

Value LaneProducts::isFirst(KernelBuilder &b) const {
  Value ofRow = b.rem(b.rem(b.lane, kLanesOfGroup), kLanesOfGroup / rows), ofPanel = b.div(quad(b), rows);
  return b.both(b.equal(ofRow, b.index(0)), b.equal(ofPanel, b.index(0)));
}

} // namespace qwench::gpu
