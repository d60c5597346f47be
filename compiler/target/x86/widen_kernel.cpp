#include "compiler/target/x86/widen_kernel.h"

#include "compiler/target/x86/integers.h"
#include "compiler/target/x86/micro_kernel.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

#include <numeric>

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;

namespace {

/// Columns of a step of bf16 pairs, and of one of e4m3 codes.
constexpr int64_t kPair = 2;

/// The body: what one chunk of columns within a group becomes.
struct Widening {
  KernelBuilder &b;
  PanelFormat format;
  PanelReader reader;
  Value memory, to;
  bool floats; ///< codes are e4m3
  bool exact;  ///< values have no more bits than a bf16
  Type element = cast<MemRefType>(to.getType()).getElementType();

  /// Two neighbouring columns of 16 lanes, from column `first` of the result on. Values that become bf16 have no more bits.
  void store(Value even, Value odd, Value first, int64_t half) {
    if (element.isF32()) {
      Value at = b.add(b.mul(first, kPanel), half * kLanes);
      b.store(even, to, at);
      b.store(odd, to, b.add(at, kPanel));
      return;
    }
    Value at = b.add(b.mul(first, kPanel), half * kPair * kLanes);
    vector::StoreOp::create(b, pairsOfBF16(b, even, odd), to, ValueRange{at});
  }

  /// x * y, rounded to what the result holds.
  Value product(Value x, Value y) { return exact || element.isF32() ? b.mulf(x, y) : productAsBF16(b, x, y); }

  /// The lowest byte of each word as a number, without bias.
  Value number(Value words) {
    if (format.bits != 4 || format.zeroPoints || format.lookup) {
      // As the low bits of 2^23.
      Value large = ori(b, andi(b, words, 255), x86::words(b, 0x4b000000));
      return b.subf(toFloats(b, large), b.splat(0x1p23f + static_cast<float>(format.bias)));
    }
    // A lookup by the lowest four bits.
    SmallVector<float> values;
    for (int64_t code = 0; code < kLanes; ++code)
      values.push_back(static_cast<float>(code - format.bias));
    Value table = arith::ConstantOp::create(b, DenseElementsAttr::get(b.lanes(b.getF32Type()), ArrayRef<float>(values)));
    return LLVM::CallIntrinsicOp::create(b, b.lanes(b.getF32Type()), b.getStringAttr("llvm.x86.avx512.permvar.sf.512"),
                                         ValueRange{table, words})
        .getResult(0);
  }

  /// Column c of the four of a step of codes: the unsigned byte's value, without zero and bias, times the scale.
  Value column(Value codes, int64_t c, Value zero, Value scale) {
    Value byte = shru(b, toBits(b, codes), 8 * c);
    Value value = zero ? convert(b, subi(b, c == 3 ? byte : andi(b, byte, 255), zero)) : number(byte);
    return scale ? product(value, scale) : value;
  }

  /// `columns` columns from byte `codes` of a group that starts at byte `group` on, to column `first` of the result on.
  void chunk(Value group, Value codes, int64_t columns, Value first) {
    Halves scales = format.scale ? reader.scales(group) : Halves{};
    if (floats)
      return b.loop(columns / kPair, 1, [&](Value step) {
        floatStep(b.add(codes, b.mul(step, kPair * kPanel)), scales, b.add(first, b.mul(step, kPair)));
      });
    Halves zeros = reader.zeros(group);
    b.loop(columns / kStepColumns, 1, [&](Value step) {
      Value at = b.add(codes, b.mul(step, format.stepBytes()));
      Halves bytes = reader.step(at, zeros);
      prefetch(b, memory, at, format.stepBytes());
      for (int64_t half = 0; half < 2; ++half)
        for (int64_t c = 0; c < kStepColumns; c += kPair) {
          Value zero = reader.zerosInStart() ? zeros[half] : Value();
          Value even = column(bytes[half], c, zero, scales[half]), odd = column(bytes[half], c + 1, zero, scales[half]);
          store(even, odd, b.add(first, b.add(b.mul(step, kStepColumns), c)), half);
        }
    });
  }

  /// Two columns of e4m3 codes at byte `codes`: pairs of 32 lanes.
  void floatStep(Value codes, const Halves &scales, Value first) {
    prefetch(b, memory, codes, kPair * kPanel);
    for (int64_t half = 0; half < 2; ++half) {
      auto bytes = VectorType::get({kPair * kLanes}, b.getI8Type());
      Value raw = vector::LoadOp::create(b, bytes, memory, ValueRange{b.add(codes, half * kPair * kLanes)});
      auto columns = vector::DeinterleaveOp::create(b, scalesToFloat(b, raw, Float8E4M3FNType::get(b.getContext())));
      store(product(columns.getResult(0), scales[half]), product(columns.getResult(1), scales[half]), first, half);
    }
  }
};

} // namespace

PanelWidener::PanelWidener(const Weight &weight, Type result) : integers(weight.quant().isInteger()), result(result) {
  // Codes of a whole row are one run; any group of activations divides it.
  int64_t group = weight.quant().groupColumns(weight.layout.paddedInputs(weight.inputs()));
  format = PanelFormat::of(weight.quant(), group);
}

std::string PanelWidener::name() const {
  return (integers ? "widen." : "widen.f8.") + format.name() + (result.isF32() ? ".f32" : "");
}

void PanelWidener::emit(KernelBuilder &b, Value memory, Value start, Value first, Value columns, Value to, Value at) const {
  // Codes have at most 8 bits, products of e2m1 and an e8m0 or e4m3 scale at most 6.
  bool exact = !format.scale || (format.lookup && format.scale.getIntOrFloatBitWidth() == 8);
  Widening widening{b, format, PanelReader(b, format, memory), memory, to, !integers, exact};
  int64_t unit = std::gcd(32, format.group);
  b.loop(b.index(0), columns, unit, [&](Value done) {
    Value column = b.add(first, done), which = b.div(column, format.group);
    Value group = b.add(b.add(start, format.headerBytes()), b.mul(which, format.groupBytes()));
    Value inside = b.sub(column, b.mul(which, format.group));
    Value codes = b.add(b.add(group, format.codesAt()), b.mul(b.div(inside, kStepColumns), format.stepBytes()));
    widening.chunk(group, codes, unit, b.add(at, done));
  });
}

void PanelWidener::call(KernelBuilder &b, Value memory, Value start, Value first, Value columns, Value to) const {
  b.callShared(name(), {memory, start, first, columns, to}, [&](KernelBuilder &b, ValueRange arguments) {
    emit(b, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], b.index(0));
  });
}
