#include "compiler/target/x86/group_kernel.h"

#include "compiler/target/x86/integers.h"
#include "compiler/target/x86/micro_kernel.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;

Value x86::dotBytes(KernelBuilder &b, Value sum, Value weights, Value a) {
  auto bytes = VectorType::get({4 * kLanes}, b.getI8Type());
  if (b.machine.int8Dot)
    return LLVM::CallIntrinsicOp::create(b, sum.getType(), b.getStringAttr("llvm.x86.avx512.vpdpbusd.512"),
                                         ValueRange{sum, weights, vector::BitCastOp::create(b, bytes, a)}).getResult(0);
  // Bytes of a lane one after the other; products of 16 bits are exact.
  Value w = toBits(b, weights);
  for (int64_t i = 0; i < kStepColumns; ++i) {
    Value unsignedByte = andi(b, shru(b, w, 8 * i), 255);
    Value signedByte = arith::ShRSIOp::create(b, shl(b, a, 24 - 8 * i), words(b, 24));
    sum = addi(b, sum, arith::MulIOp::create(b, unsignedByte, signedByte));
  }
  return sum;
}

namespace {

/// Sets of integer accumulators: a vpdpbusd takes 5 cycles and two start in each, so few rows need several.
int64_t setsFor(const Machine &machine, int64_t rows) { return accumulatorsPerSum(machine, rows, 2); }
/// Steps of an iteration.
int64_t unrollFor(const Machine &machine, int64_t rows) { return std::max<int64_t>(2, setsFor(machine, rows)); }

/// Keeps LLVM from unrolling a loop: a scheduler that sees many steps at once loads ahead of them and spills accumulators.
void keepRolled(Operation *loop) {
  MLIRContext *context = loop->getContext();
  auto unroll = LLVM::LoopUnrollAttr::get(context, BoolAttr::get(context, true), {}, {}, {}, {}, {}, {});
  auto annotation = LLVM::LoopAnnotationAttr::get(context, {}, {}, {}, unroll, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {});
  loop->setAttr("llvm.loop_annotation", annotation);
}

/// The body of a micro-kernel.
struct GroupKernel {
  KernelBuilder &b;
  const PanelFormat &format;
  int64_t rows;
  bool stream;
  Value a, panel, codesAt, factsAt;
  PanelReader reader;
  SmallVector<Value> rowStarts;

  /// Integer sums of a group, index r * 2 + half; `at` is the group's first byte in the panel.
  SmallVector<Value> sumsOfGroup(Value group, Value at) {
    Halves zeros = reader.zeros(at);
    int64_t steps = format.group / kStepColumns, unroll = unrollFor(b.machine, rows), sets = setsFor(b.machine, rows);
    SmallVector<Value> sums;
    Value facts = b.add(factsAt, b.mul(group, kGroupFacts));
    for (int64_t r = 0; r < rows; ++r) {
      Value negated = wordOf(b, a, b.add(b.add(rowStarts[r], facts), 4));
      for (Value start : reader.start(negated, zeros))
        sums.push_back(start);
    }
    sums.append(2 * rows * (sets - 1), words(b, 0));
    Value codes = b.add(codesAt, b.mul(group, format.group)), weights = b.add(at, format.codesAt());
    auto some = [&](Value first, SmallVector<Value> s) {
      for (int64_t u = 0; u < unroll; ++u) {
        Value step = b.add(first, u);
        Value stepAt = b.add(weights, b.mul(step, format.stepBytes()));
        Halves w = reader.step(stepAt, zeros);
        if (stream)
          prefetch(b, panel, stepAt, format.stepBytes());
        for (int64_t r = 0; r < rows; ++r) {
          Value at = b.add(b.add(rowStarts[r], codes), b.mul(step, kStepColumns));
          Value x = broadcastWord(b, a, at, b.getI32Type());
          for (int64_t j = 0; j < 2; ++j) {
            Value &sum = s[(u % sets * rows + r) * 2 + j];
            sum = dotBytes(b, sum, w[j], x);
          }
        }
      }
      return s;
    };
    sums = b.loop(b.index(0), b.index(steps), unroll, sums,
                  [&](Value first, ValueRange s) { return some(first, SmallVector<Value>(s)); });
    keepRolled(sums.front().getDefiningOp());
    for (int64_t i = 2 * rows; i < static_cast<int64_t>(sums.size()); ++i)
      sums[i % (2 * rows)] = arith::AddIOp::create(b, sums[i % (2 * rows)], sums[i]);
    sums.resize(2 * rows);
    return sums;
  }

  /// The float sums `y` and those of one group more.
  KernelBuilder::Yield addGroup(Value group, Value at, ValueRange y) {
    Halves scales;
    if (format.scale)
      scales = reader.relativeScales(at);
    if (stream) // the steps ask for their codes
      prefetch(b, panel, at, format.codesAt());
    SmallVector<Value> sums = sumsOfGroup(group, at);
    KernelBuilder::Yield next(y);
    Value facts = b.add(factsAt, b.mul(group, kGroupFacts));
    for (int64_t r = 0; r < rows; ++r) {
      Value scale = broadcastWord(b, a, b.add(rowStarts[r], facts), b.getF32Type());
      for (int64_t j = 0; j < 2; ++j) {
        Value exact = arith::SIToFPOp::create(b, b.lanes(b.getF32Type()), sums[r * 2 + j]);
        next[r * 2 + j] = b.fma(exact, format.scale ? b.mulf(scale, scales[j]) : scale, next[r * 2 + j]);
      }
    }
    return next;
  }
};

/// The body of the function `(a, rowOffsets, row, codesAt, factsAt, b, bStart, groups, c, cStart)`.
void emitGroupKernel(KernelBuilder &b, ValueRange arguments, const GroupProduct &p, int64_t rows) {
  auto argument = [&](unsigned n) { return arguments[n]; };
  Value panel = argument(5), c = argument(8);
  GroupKernel kernel{b, p.format, rows, p.stream, argument(0), panel, argument(3), argument(4), PanelReader(b, p.format, panel), {}};
  for (int64_t r = 0; r < rows; ++r)
    kernel.rowStarts.push_back(b.toIndex(b.loadScalar(argument(1), b.add(argument(2), r))));
  auto place = [&](int64_t n) { return b.add(argument(9), n * kLanes); };
  SmallVector<Value> before;
  for (int64_t n = 0; n < 2 * rows; ++n)
    before.push_back(b.load(c, place(n)));
  auto sums = b.loop(b.index(0), argument(7), 1, before, [&](Value group, ValueRange y) {
    return kernel.addGroup(group, b.add(argument(6), b.mul(group, p.format.groupBytes())), y);
  });
  for (int64_t n = 0; n < 2 * rows; ++n)
    b.store(sums[n], c, place(n));
}

/// The body of the function `(panel, start, groups, to, toStart)`.
void emitUnpackKernel(KernelBuilder &b, ValueRange arguments, const PanelFormat &format) {
  auto argument = [&](unsigned n) { return arguments[n]; };
  PanelReader reader(b, format, argument(0));
  PanelFormat wide = format.unpacked(b.getContext());
  auto store = [&](Value vector, Value at) {
    Value bytes = vector::BitCastOp::create(b, VectorType::get({4 * kLanes}, b.getI8Type()), vector);
    vector::StoreOp::create(b, bytes, argument(3), ValueRange{at});
  };
  b.loop(b.index(0), argument(2), 1, [&](Value group) {
    Value at = b.add(argument(1), b.mul(group, format.groupBytes()));
    Value target = b.add(argument(4), b.mul(group, wide.groupBytes()));
    Halves scales = reader.relativeScales(at), zeros = reader.zeros(at);
    for (int64_t j = 0; j < 2; ++j)
      store(scales[j], b.add(target, j * 4 * kLanes));
    b.loop(format.group / kStepColumns, 1, [&](Value step) {
      Value stepAt = b.add(b.add(at, format.codesAt()), b.mul(step, format.stepBytes()));
      Halves codes = reader.step(stepAt, zeros);
      prefetch(b, argument(0), stepAt, format.stepBytes());
      for (int64_t j = 0; j < 2; ++j)
        store(codes[j], b.add(b.add(target, wide.codesAt()), b.add(b.mul(step, wide.stepBytes()), j * 4 * kLanes)));
    });
  });
}

} // namespace

SmallVector<int64_t> x86::groupRowBlocks(const Machine &machine, const PanelFormat &format) {
  return rowBlocks(machine, format.bits == 8 ? 2 : 3);
}

void x86::emitGroupProduct(KernelBuilder &b, const GroupProduct &p, Value row, int64_t rows, Value cStart) {
  std::string name = "micro." + p.format.name() + "." + std::to_string(rows) + "x" + std::to_string(kPanel);
  b.callShared(p.stream ? name + ".stream" : name,
               {p.a, p.rowOffsets, row, p.codesAt, p.factsAt, p.b, p.bStart, p.groups, p.c, cStart},
               [&](KernelBuilder &b, ValueRange arguments) { emitGroupKernel(b, arguments, p, rows); });
}

void x86::emitUnpack(KernelBuilder &b, const PanelFormat &format, Value panel, Value start, Value groups, Value to,
                     Value toStart) {
  b.callShared("unpack." + format.name(), {panel, start, groups, to, toStart},
               [&](KernelBuilder &b, ValueRange arguments) { emitUnpackKernel(b, arguments, format); });
}
