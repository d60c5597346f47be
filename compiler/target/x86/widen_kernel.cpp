#include "compiler/target/x86/widen_kernel.h"

#include "compiler/target/x86/integers.h"
#include "compiler/target/x86/micro_kernel.h"

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

  /// Two neighbouring columns of 16 lanes, from column `first` of the result on.
  void store(Value even, Value odd, Value first, int64_t half) {
    Type element = cast<MemRefType>(to.getType()).getElementType();
    if (element.isF32()) {
      Value at = b.add(b.mul(first, kPanel), half * kLanes);
      b.store(even, to, at);
      b.store(odd, to, b.add(at, kPanel));
      return;
    }
    auto type = VectorType::get({kPair * kLanes}, element);
    Value pairs;
    if (exact) // the upper halves of both as they are
      pairs = vector::BitCastOp::create(b, type, ori(b, shru(b, toBits(b, even), 16), toBits(b, odd)));
    else
      pairs = arith::TruncFOp::create(b, type, vector::InterleaveOp::create(b, even, odd));
    Value at = b.add(b.mul(first, kPanel), half * kPair * kLanes);
    vector::StoreOp::create(b, pairs, to, ValueRange{at});
  }

  /// Column c of the four of a step of codes: the unsigned byte's value, without zero and bias.
  Value column(Value codes, int64_t c, Value zero, Value scale) {
    Value byte = shru(b, toBits(b, codes), 8 * c);
    if (c != 3)
      byte = andi(b, byte, 255);
    Value value = convert(b, subi(b, byte, zero ? zero : words(b, format.bias)));
    return scale ? b.mulf(value, scale) : value;
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
      store(b.mulf(columns.getResult(0), scales[half]), b.mulf(columns.getResult(1), scales[half]), first, half);
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
