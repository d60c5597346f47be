// Rows of activations in groups of signed bytes, and rows of quantized tables back in f32.
#include "compiler/target/x86/group_kernel.h"
#include "compiler/target/x86/integers.h"
#include "compiler/target/x86/kernels.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;
using namespace qwench::qwen;

namespace {

/// One group of a row: `valid` of its columns are there, the others up to whole sums are zeros.
struct GroupWriter {
  KernelBuilder &b;
  Value to, codes, scale, sums; ///< memref<?xi8>, first byte of the group's codes, bytes of its scale and its sums
  int64_t sumColumns, valid;
  llvm::function_ref<Value(Value)> load; ///< 16 columns of the group from a column of it on

  /// Calls body(column, values, carried) for each vector of `count` columns from `first` on, and gives what it carries.
  Value fold(Value first, int64_t count, Value init, llvm::function_ref<Value(Value, Value, Value)> body) {
    int64_t whole = count / kLanes * kLanes;
    Value result = b.loop(b.index(0), b.index(whole), kLanes, {init}, [&](Value c, ValueRange carried) {
      Value column = b.add(first, c);
      return KernelBuilder::Yield{body(column, load(column), carried[0])};
    })[0];
    if (whole == count)
      return result;
    SmallVector<bool> there(kLanes, false);
    std::fill_n(there.begin(), count - whole, true);
    Value mask = arith::ConstantOp::create(b, DenseElementsAttr::get(b.lanes(b.getI1Type()), ArrayRef<bool>(there)));
    Value column = b.add(first, whole);
    return body(column, arith::SelectOp::create(b, mask, load(column), b.splat(0.0f)), result);
  }

  void emit() {
    // Magnitudes order as their bits do, with NaN above all numbers: its scale shows it.
    Value most = fold(b.index(0), valid, words(b, 0), [&](Value, Value x, Value most) -> Value {
      return arith::MaxUIOp::create(b, most, andi(b, toBits(b, x), 0x7fffffff));
    });
    Value bits = vector::ReductionOp::create(b, vector::CombiningKind::MAXUI, most);
    Value largest = arith::BitcastOp::create(b, b.getF32Type(), bits);
    storeWord(b.mulf(largest, b.f32(1.0f / 127)), scale);
    Value some = arith::CmpFOp::create(b, arith::CmpFPredicate::ONE, largest, b.f32(0));
    Value perUnit = b.splat(arith::SelectOp::create(b, some, b.divf(b.f32(127), largest), b.f32(0)));
    int64_t whole = valid / sumColumns;
    b.loop(whole, 1, [&](Value sum) { round(sum, sumColumns, perUnit); });
    if (valid % sumColumns)
      round(b.index(whole), valid % sumColumns, perUnit);
  }

  /// Writes the codes of sum number `n`, of which `count` columns are there, and their sum as products take it.
  void round(Value n, int64_t count, Value perUnit) {
    Value first = b.mul(n, sumColumns);
    Value negated = fold(first, count, words(b, 0), [&](Value column, Value x, Value sum) {
      Value bits = toBits(b, b.fma(x, perUnit, b.splat(kRounder)));
      Value code = arith::TruncIOp::create(b, b.lanes(b.getI8Type()), bits);
      vector::StoreOp::create(b, code, to, ValueRange{b.add(codes, column)});
      return addi(b, sum, subi(b, words(b, kRounderBits), bits));
    });
    Value none = arith::ConstantOp::create(b, b.getZeroAttr(b.lanes(b.getI8Type())));
    for (int64_t column = llvm::alignTo(count, kLanes); column < sumColumns; column += kLanes)
      vector::StoreOp::create(b, none, to, ValueRange{b.add(codes, b.add(first, column))});
    Value negatedSum = vector::ReductionOp::create(b, vector::CombiningKind::ADD, negated);
    auto word = [&](int64_t v) { return arith::ConstantOp::create(b, b.getI32IntegerAttr(v)); };
    Value stored = arith::AddIOp::create(b, arith::MulIOp::create(b, negatedSum, word(kSumFactor)), word(kSumOffset));
    storeWord(stored, b.add(sums, b.mul(n, 4)));
  }

  void storeWord(Value word, Value at) {
    Value one = vector::BroadcastOp::create(b, VectorType::get({1}, word.getType()), word);
    Value bytes = vector::BitCastOp::create(b, VectorType::get({4}, b.getI8Type()), one);
    vector::StoreOp::create(b, bytes, to, ValueRange{at});
  }
};

} // namespace

void x86::quantizeRow(KernelBuilder &b, const Rows &out, Value row, llvm::function_ref<Value(Value)> load) {
  auto type = cast<QuantType>(out.element);
  int64_t group = type.getGroup(), sums = type.sumColumns(), whole = out.width / group;
  Value start = b.mul(row, out.stride);
  Value scalesAt = b.add(start, type.rowScalesAt(out.width)), sumsAt = b.add(start, type.rowSumsAt(out.width));
  auto emit = [&](Value g, int64_t valid) {
    Value first = b.mul(g, group);
    GroupWriter{b, out.memory, b.add(start, first), b.add(scalesAt, b.mul(g, 4)), b.add(sumsAt, b.mul(g, group / sums * 4)),
                sums, valid, [&](Value column) { return load(b.add(first, column)); }}.emit();
  };
  b.loop(whole, 1, [&](Value g) { emit(g, group); });
  if (out.width % group)
    emit(b.index(whole), out.width % group);
}

void x86::emitQuantize(KernelBuilder &b, Operation *op) {
  auto quantize = cast<QuantizeOp>(op);
  Rows in = b.rows(quantize.getInput()), out = b.rows(dest(op));
  forTileRows(b, op, dest(op), [&](Value row) {
    Value source = b.mul(row, in.stride);
    quantizeRow(b, out, row, [&](Value column) { return b.load(in.memory, b.add(source, column)); });
  });
}

void x86::gatherQuantizedRow(KernelBuilder &b, const Weight &table, Value token, const Rows &out, Value target) {
  QuantType type = table.quant();
  int64_t columns = table.layout.paddedInputs(table.inputs()), depth = table.layout.getDepth();
  auto format = PanelFormat::of(type, type.groupColumns(columns));
  Value panel = b.mul(b.div(token, kPanel), table.panelStride()), lane = b.rem(token, kPanel);
  auto load = [&](Value at, int64_t bytes) -> Value {
    return vector::LoadOp::create(b, VectorType::get({bytes}, b.getI8Type()), table.memory, ValueRange{at});
  };
  auto scalar = [&](Value at, Type element) -> Value {
    Value raw = load(at, element.getIntOrFloatBitWidth() / 8);
    return vector::ExtractOp::create(b, scalesToFloat(b, raw, element), ArrayRef<int64_t>{0});
  };
  auto bytes = VectorType::get({depth}, b.getI8Type());
  auto floats = VectorType::get({depth}, b.getF32Type());
  Value rowScale = format.rowScales ? scalar(b.add(panel, b.mul(lane, 4)), b.getF32Type()) : b.f32(1);
  // A code of four bits lies with that of the lane sixteen further on.
  Value place = b.mul(format.bits == 4 ? b.rem(lane, kLanes) : lane, depth);
  Value upper = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, lane, b.index(kLanes));
  auto constant = [&](uint8_t value) { return integers(b, bytes, value); };
  auto valuesOf = [&](Value raw) -> Value {
    if (!type.isInteger())
      return scalesToFloat(b, raw, type.getStorage());
    if (format.bits == 4) {
      Value high = arith::ShRUIOp::create(b, raw, constant(4)), low = arith::AndIOp::create(b, raw, constant(15));
      raw = arith::SelectOp::create(b, upper, high, low);
    }
    if (format.lookup)
      return arith::SIToFPOp::create(b, floats, twiceE2M1(b, raw));
    if (format.zeroPoints)
      return arith::UIToFPOp::create(b, floats, raw);
    return arith::SIToFPOp::create(b, floats, arith::SubIOp::create(b, raw, constant(1 << (format.bits - 1))));
  };
  int64_t codesAt = format.codesAt(), stepBytes = kPanel * depth * format.bits / 8;
  int64_t groupBytes = codesAt + format.group / depth * stepBytes;
  b.loop(columns / format.group, 1, [&](Value g) {
    Value at = b.add(b.add(panel, format.headerBytes()), b.mul(g, groupBytes)), scale = rowScale, zero = b.f32(0);
    if (format.scale)
      scale = b.mulf(scale, scalar(b.add(at, b.mul(lane, type.scaleBytes())), format.scale));
    if (format.factor != 1)
      scale = b.mulf(scale, b.f32(format.factor));
    if (format.zeroPoints)
      zero = arith::UIToFPOp::create(b, b.getF32Type(), b.loadScalar(table.memory, b.add(b.add(at, codesAt - kPanel), lane)));
    b.loop(format.group / depth, 1, [&](Value step) {
      Value values = valuesOf(load(b.add(b.add(at, codesAt), b.add(b.mul(step, stepBytes), place)), depth));
      auto all = [&](Value one) -> Value { return vector::BroadcastOp::create(b, floats, one); };
      values = b.mulf(b.subf(values, all(zero)), all(scale));
      Value column = b.add(b.mul(g, format.group), b.mul(step, depth));
      // Rows of the result are padded to whole panels only, those of the table to whole groups.
      b.when(b.less(column, b.index(padded(table.inputs()))), [&] {
        vector::StoreOp::create(b, values, out.memory, ValueRange{b.add(target, column)});
      });
    });
  });
  // The table's columns are whole groups, which may be of 16, the result's whole panels of 32: zeros behind the table's.
  for (int64_t column = columns; column < padded(table.inputs()); column += kLanes)
    b.store(b.splat(0.0f), out.memory, b.add(target, column));
}
