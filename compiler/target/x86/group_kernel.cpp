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

/// sum + the two products of i16 in each lane of 32 bits: vectors of kLanes words and of 2 * kLanes halves of words.
Value dotHalfWords(KernelBuilder &b, Value sum, Value x, Value y) {
  return LLVM::CallIntrinsicOp::create(b, sum.getType(), b.getStringAttr("llvm.x86.avx512.vpdpwssd.512"), ValueRange{sum, x, y})
      .getResult(0);
}

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
    int64_t sets = setsFor(b.machine, rows, format.group / kStepColumns);
    SmallVector<Value> sums;
    for (int64_t r = 0; r < rows; ++r)
      llvm::append_range(sums, reader.start(sumWord(r, group), zeros));
    sums.append(2 * rows * (sets - 1), words(b, 0));
    sums = addProducts(group, b.add(at, format.codesAt()), zeros, sums);
    for (int64_t i = 2 * rows; i < static_cast<int64_t>(sums.size()); ++i)
      sums[i % (2 * rows)] = arith::AddIOp::create(b, sums[i % (2 * rows)], sums[i]);
    sums.resize(2 * rows);
    return sums;
  }

  Value sumWord(int64_t r, Value group) { return wordOf(b, a, b.add(rowStarts[r], b.add(sumsAt, b.mul(group, 4)))); }

  /// Adds a group's products to sets of sums; its weights start at byte `weights` of the panel.
  SmallVector<Value> addProducts(Value group, Value weights, const Halves &zeros, SmallVector<Value> sums) {
    int64_t steps = format.group / kStepColumns, unroll = unrollFor(b.machine, rows, steps);
    int64_t sets = sums.size() / (2 * rows);
    Value codes = b.add(codesAt, b.mul(group, format.group));
    return b.loop(b.index(0), b.index(steps), unroll, sums, [&](Value first, ValueRange before) {
      SmallVector<Value> s(before);
      for (int64_t u = 0; u < unroll; ++u) {
        Value step = b.add(first, u);
        Value stepAt = b.add(weights, b.mul(step, format.stepBytes()));
        Halves w = reader.step(stepAt, zeros);
        if (stream)
          prefetch(b, panel, stepAt, format.stepBytes());
        multiply(w, b.add(codes, b.mul(step, kStepColumns)), MutableArrayRef(s).slice(u % sets * rows * 2, rows * 2));
      }
      return s;
    });
  }

  /// `y`, integers in units of the lane, and the products of a pair of groups; `at` is the pair's first byte in the panel.
  ///
  /// The sums of either group fit 16 bits and are 2^15 higher until the end, as those of activations are: so no borrow of the second
  /// group's reaches the first group's, which stands shifted up in the same words. While the sums of one half of the lanes are
  /// shifted, those of the other are added to.
  KernelBuilder::Yield addPair(Value group, Value at, ValueRange y) {
    constexpr uint32_t offsets = kSumOffset << 16 | kSumOffset;
    Value codes = b.add(at, format.pairCodesAt()), second = b.add(group, b.index(1));
    Value secondCodes = b.add(codes, format.group / kStepColumns * format.stepBytes());
    std::array<SmallVector<Value>, 2> sums;
    for (int64_t j = 0; j < 2; ++j) {
      for (int64_t r = 0; r < rows; ++r)
        sums[j].push_back(b.splat(sumWord(r, group)));
      addHalf(j, group, codes, sums[j]);
      for (int64_t r = 0; r < rows; ++r)
        sums[j][r] = addi(b, shl(b, sums[j][r], 16), b.splat(sumWord(r, second)));
    }
    Halves scales = reader.pairScales(at);
    KernelBuilder::Yield next(y);
    auto halves = VectorType::get({2 * kLanes}, b.getIntegerType(16));
    for (int64_t j = 0; j < 2; ++j) {
      addHalf(j, second, secondCodes, sums[j]);
      for (int64_t r = 0; r < rows; ++r) {
        Value pair = arith::XOrIOp::create(b, sums[j][r], words(b, offsets));
        next[2 * r + j] = dotHalfWords(b, y[2 * r + j], vector::BitCastOp::create(b, halves, pair), scales[j]);
      }
    }
    return next;
  }

  /// The products of groups [first, end) of the panel that starts at byte `start`, in units of the lane.
  SmallVector<Value> pairs(Value start, Value first, Value end) {
    SmallVector<Value> zeros(2 * rows, words(b, 0)), sums;
    auto all = b.loop(first, end, 2, zeros, [&](Value group, ValueRange y) {
      return addPair(group, b.add(start, b.mul(group, format.groupBytes())), y);
    });
    for (Value sum : all)
      sums.push_back(convert(b, sum));
    return sums;
  }

  /// Adds a group's products with half `j` of its lanes, whose weights start at byte `weights` of the panel.
  void addHalf(int64_t j, Value group, Value weights, MutableArrayRef<Value> sums) {
    Value codes = b.add(codesAt, b.mul(group, format.group));
    for (int64_t step = 0; step < format.group / kStepColumns; ++step) {
      fenceLoads(b);
      Value w = reader.step(b.add(weights, step * format.stepBytes()), {})[j];
      for (int64_t r = 0; r < rows; ++r) {
        Value at = b.add(rowStarts[r], b.add(codes, step * kStepColumns));
        sums[r] = dotBytes(b, sums[r], w, broadcastWord(b, a, at, b.getI32Type()));
      }
    }
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
    if (p.format.paired())
      return kernel.addScaled(kernel.pairs(arguments[BStart], first, end), which, arguments[C], arguments[CStart]);
    SmallVector<Value> zeros(2 * rows, b.splat(0.0f));
    kernel.addScaled(b.loop(first, end, 1, zeros, addGroup), which, arguments[C], arguments[CStart]);
  });
}

/// The bodies of functions `(panel, start, groups, ...)` that read a panel's groups once, ahead of micro-kernels.
struct UnpackKernel {
  KernelBuilder &b;
  const PanelFormat &format;
  Value panel, start, groups;
  PanelReader reader{b, format, panel};

  Value groupAt(Value group) { return b.add(start, b.mul(group, format.groupBytes())); }

  /// Stores 64 bytes for each half of a panel's lanes, one after the other.
  void store(const Halves &vectors, Value to, Value at) {
    for (int64_t j = 0; j < 2; ++j) {
      Value bytes = vector::BitCastOp::create(b, VectorType::get({4 * kLanes}, b.getI8Type()), vectors[j]);
      vector::StoreOp::create(b, bytes, to, ValueRange{b.add(at, j * 4 * kLanes)});
    }
  }

  void unpackCodes(Value group, const PanelFormat &wide, Value to, Value target) {
    Value at = groupAt(group);
    Halves zeros = reader.zeros(at);
    b.loop(format.group / kStepColumns, 1, [&](Value step) {
      Value stepAt = b.add(b.add(at, format.codesAt()), b.mul(step, format.stepBytes()));
      Halves codes = reader.step(stepAt, zeros);
      prefetch(b, panel, stepAt, format.stepBytes());
      store(codes, to, b.add(target, b.mul(step, wide.stepBytes())));
    });
  }

  void unpack(Value to) {
    PanelFormat wide = format.unpacked(b.getContext());
    b.loop(b.index(0), groups, 1, [&](Value group) {
      Value target = b.mul(group, wide.groupBytes());
      store(reader.relativeScales(groupAt(group)), to, target);
      unpackCodes(group, wide, to, b.add(target, wide.codesAt()));
    });
  }

  void unpackPairs(Value inverse, Value to) {
    PanelFormat wide = format.unpackedPairs(b.getContext());
    Halves perUnit = {b.load(inverse, b.index(0)), b.load(inverse, b.index(kLanes))};
    b.loop(b.index(0), groups, 2, [&](Value first) {
      Value target = b.mul(first, wide.groupBytes()), second = b.add(first, b.index(1));
      Value codes = b.add(target, wide.pairCodesAt());
      Halves high = reader.relativeScales(groupAt(first)), low = reader.relativeScales(groupAt(second)), scales;
      for (int64_t j = 0; j < 2; ++j) {
        auto rounded = [&](Value scale) { return toBits(b, b.fma(scale, perUnit[j], b.splat(kRounder))); };
        scales[j] = ori(b, shl(b, rounded(high[j]), 16), andi(b, rounded(low[j]), 0xffff));
      }
      store(scales, to, target);
      unpackCodes(first, wide, to, codes);
      unpackCodes(second, wide, to, b.add(codes, wide.group / kStepColumns * wide.stepBytes()));
    });
  }

  /// A lane's unit is so much less than the power of two at or below its largest scale that scales up to the next power fit.
  void pairUnits(Value to) {
    constexpr int64_t mantissaBits = 23, down = 3 + kPairScaleShift;
    constexpr float least = 0x1p-17f; // the least e4m3 above zero, relatively
    Halves rowScales = readRowScales(b, panel, b.sub(start, b.index(format.headerBytes())));
    auto largest = b.loop(b.index(0), groups, 1, {b.splat(least), b.splat(least)}, [&](Value group, ValueRange most) {
      Halves scales = reader.relativeScales(groupAt(group));
      return KernelBuilder::Yield{b.larger(most[0], scales[0]), b.larger(most[1], scales[1])};
    });
    for (int64_t j = 0; j < 2; ++j) {
      Value power = andi(b, toBits(b, largest[j]), 0x7f800000);
      Value unit = b.mulf(toFloats(b, power), b.splat(std::ldexp(1.0f, -down)));
      b.store(b.mulf(unit, rowScales[j]), to, b.index(j * kLanes));
      b.store(toFloats(b, subi(b, words(b, (254 + down) << mantissaBits), power)), to, b.index(kPanel + j * kLanes));
    }
  }
};

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

void x86::emitUnpack(KernelBuilder &b, const PanelFormat &format, Value panel, Value start, Value groups, Value to) {
  b.callShared("unpack." + format.name(), {panel, start, groups, to}, [&](KernelBuilder &b, ValueRange arguments) {
    UnpackKernel{b, format, arguments[0], arguments[1], arguments[2]}.unpack(arguments[3]);
  });
}

void x86::emitUnpackPairs(KernelBuilder &b, const PanelFormat &format, Value panel, Value start, Value groups, Value inverse,
                          Value to) {
  b.callShared("unpack.pairs." + format.name(), {panel, start, groups, inverse, to}, [&](KernelBuilder &b, ValueRange arguments) {
    UnpackKernel{b, format, arguments[0], arguments[1], arguments[2]}.unpackPairs(arguments[3], arguments[4]);
  });
}

void x86::emitPairUnits(KernelBuilder &b, const PanelFormat &format, Value panel, Value start, Value groups, Value to) {
  b.callShared("units." + format.name(), {panel, start, groups, to}, [&](KernelBuilder &b, ValueRange arguments) {
    UnpackKernel{b, format, arguments[0], arguments[1], arguments[2]}.pairUnits(arguments[3]);
  });
}
