#include "compiler/target/x86/group_kernel.h"

#include "compiler/target/rolled_loop.h"
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

/// Sets of integer accumulators: a vpdpbusd takes 5 cycles and two start in each, so few rows need several; in short groups the
/// products of the next one fill the gaps.
int64_t setsFor(const Machine &machine, int64_t rows, int64_t steps) {
  constexpr int64_t chain = 8; // products one after the other
  return std::min(accumulatorsPerSum(machine, rows, 2), std::max<int64_t>(1, llvm::bit_floor<uint64_t>(steps / chain)));
}
/// Steps of an iteration.
int64_t unrollFor(const Machine &machine, int64_t rows, int64_t steps) {
  return std::max<int64_t>(2, setsFor(machine, rows, steps));
}

/// Rows from which on a micro-kernel has accumulators in most registers.
constexpr int64_t kManyRows = 4;

/// Keeps LLVM from moving loads from below to above: no instruction.
void fenceLoads(KernelBuilder &b) { LLVM::FenceOp::create(b, LLVM::AtomicOrdering::acq_rel, "singlethread"); }

/// The body of a micro-kernel.
struct GroupKernel {
  KernelBuilder &b;
  const PanelFormat &format;
  int64_t rows;
  bool stream;
  Value a, panel, codesAt, scalesAt, sumsAt;
  PanelReader reader;
  SmallVector<Value> rowStarts;

  /// Integer sums of a group, index r * 2 + half; `at` is the group's first byte in the panel.
  SmallVector<Value> sumsOfGroup(Value group, Value at) {
    Halves zeros = reader.zeros(at);
    int64_t steps = format.group / kStepColumns, unroll = unrollFor(b.machine, rows, steps);
    int64_t sets = setsFor(b.machine, rows, steps);
    SmallVector<Value> sums;
    Value negatedAt = b.add(sumsAt, b.mul(group, 4));
    for (int64_t r = 0; r < rows; ++r) {
      Value negated = wordOf(b, a, b.add(rowStarts[r], negatedAt));
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
        multiply(w, b.add(codes, b.mul(step, kStepColumns)), MutableArrayRef(s).slice(u % sets * rows * 2, rows * 2));
      }
      return s;
    };
    sums = b.loop(b.index(0), b.index(steps), unroll, sums,
                  [&](Value first, ValueRange s) { return some(first, SmallVector<Value>(s)); });
    // A scheduler that sees many steps at once loads ahead of them and spills accumulators.
    keepRolled(sums.front().getDefiningOp());
    for (int64_t i = 2 * rows; i < static_cast<int64_t>(sums.size()); ++i)
      sums[i % (2 * rows)] = arith::AddIOp::create(b, sums[i % (2 * rows)], sums[i]);
    sums.resize(2 * rows);
    return sums;
  }

  /// Adds the products of a step's weights with four columns of each row, which start `at` bytes behind the row's start.
  void multiply(const Halves &weights, Value at, MutableArrayRef<Value> sums) {
    auto columns = [&](int64_t r) { return broadcastWord(b, a, b.add(rowStarts[r], at), b.getI32Type()); };
    if (rows < kManyRows || format.bits != 8) {
      for (int64_t r = 0; r < rows; ++r) {
        Value x = columns(r);
        for (int64_t j = 0; j < 2; ++j)
          sums[r * 2 + j] = dotBytes(b, sums[r * 2 + j], weights[j], x);
      }
      return;
    }
    // Each product reads its own columns: registers that held them for both halves, or early, would be those of accumulators.
    for (int64_t j = 0; j < 2; ++j) {
      fenceLoads(b);
      for (int64_t r = 0; r < rows; ++r)
        sums[r * 2 + j] = dotBytes(b, sums[r * 2 + j], weights[j], columns(r));
    }
  }

  /// The sums `y` in units of a scale of A and those of one group more.
  KernelBuilder::Yield addGroup(Value group, Value at, ValueRange y) {
    Halves scales;
    if (format.scale)
      scales = reader.relativeScales(at);
    if (stream) // the steps ask for their codes
      prefetch(b, panel, at, format.codesAt());
    SmallVector<Value> sums = sumsOfGroup(group, at);
    KernelBuilder::Yield next(y);
    for (int64_t n = 0; n < 2 * rows; ++n) {
      Value exact = convert(b, sums[n]);
      if (!y.empty())
        next[n] = format.scale ? b.fma(exact, scales[n % 2], next[n]) : b.addf(exact, next[n]);
      else
        next.push_back(format.scale ? b.mulf(exact, scales[n % 2]) : exact);
    }
    return next;
  }

  /// Adds `sums` in units of scale number `which` of A to C, whose rows are at element `at` of `c`.
  void addScaled(ValueRange sums, Value which, Value c, Value at) {
    Value scaleAt = b.add(scalesAt, b.mul(which, 4));
    for (int64_t r = 0; r < rows; ++r) {
      Value scale = broadcastWord(b, a, b.add(rowStarts[r], scaleAt), b.getF32Type());
      for (int64_t n = 2 * r; n < 2 * r + 2; ++n) {
        Value place = b.add(at, n * kLanes);
        b.store(b.fma(sums[n], scale, b.load(c, place)), c, place);
      }
    }
  }
};

/// Parameters of a micro-kernel's function, as GroupProduct has them.
enum Parameter : unsigned { A, RowOffsets, Row, CodesAt, ScalesAt, SumsAt, B, BStart, Groups, C, CStart };

void emitGroupKernel(KernelBuilder &b, ValueRange arguments, const GroupProduct &p, int64_t rows) {
  GroupKernel kernel{b, p.format, rows, p.stream, arguments[A], arguments[B], arguments[CodesAt], arguments[ScalesAt],
                     arguments[SumsAt], PanelReader(b, p.format, arguments[B]), {}};
  for (int64_t r = 0; r < rows; ++r)
    kernel.rowStarts.push_back(b.toIndex(b.loadScalar(arguments[RowOffsets], b.add(arguments[Row], r))));
  auto addGroup = [&](Value group, ValueRange y) {
    return kernel.addGroup(group, b.add(arguments[BStart], b.mul(group, p.format.groupBytes())), y);
  };
  b.loop(b.index(0), arguments[Groups], p.groupsPerScale, [&](Value first) {
    Value which = b.div(first, p.groupsPerScale);
    if (p.groupsPerScale == 1)
      return kernel.addScaled(addGroup(first, {}), which, arguments[C], arguments[CStart]);
    Value end = b.min(b.add(first, p.groupsPerScale), arguments[Groups]);
    SmallVector<Value> zeros(2 * rows, b.splat(0.0f));
    kernel.addScaled(b.loop(first, end, 1, zeros, addGroup), which, arguments[C], arguments[CStart]);
  });
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
  std::string name = "micro." + p.format.name() + ".x" + std::to_string(p.groupsPerScale) + "." + std::to_string(rows) + "x" +
                     std::to_string(kPanel);
  b.callShared(p.stream ? name + ".stream" : name,
               {p.a, p.rowOffsets, row, p.codesAt, p.scalesAt, p.sumsAt, p.b, p.bStart, p.groups, p.c, cStart},
               [&](KernelBuilder &b, ValueRange arguments) { emitGroupKernel(b, arguments, p, rows); });
}

void x86::emitUnpack(KernelBuilder &b, const PanelFormat &format, Value panel, Value start, Value groups, Value to,
                     Value toStart) {
  b.callShared("unpack." + format.name(), {panel, start, groups, to, toStart},
               [&](KernelBuilder &b, ValueRange arguments) { emitUnpackKernel(b, arguments, format); });
}
