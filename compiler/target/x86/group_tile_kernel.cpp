#include "compiler/target/x86/group_tile_kernel.h"

#include "compiler/target/x86/integers.h"

#include "mlir/Dialect/AMX/AMXDialect.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;

namespace {

/// Where a line of zeros for each tile of sums starts, behind the sums of two groups.
constexpr int64_t kZerosAt = 2 * kMostTileRows * kPanel;
static_assert(kZerosAt + kMostTileRows / kTileRows * 2 * kLanes == kGroupTileSums);

/// A function of these parameters; starts and strides are in bytes, those of C in elements.
enum Parameter : unsigned { A, AStart, AStride, CodesAt, ScalesAt, SumsAt, B, BStart, Groups, C, CStart, Times, Sums };

struct GroupTileKernel {
  KernelBuilder &b;
  ValueRange arguments;
  const PanelFormat &format;
  bool stream;
  int64_t rows;
  PanelReader reader{b, format, arguments[B]};
  int64_t blocks = llvm::divideCeil(rows, kTileRows), blockRows = rows / blocks;
  amx::TileType left = amx::TileType::get({blockRows, kByteTileColumns}, b.getI8Type());
  amx::TileType right = amx::TileType::get({kByteTileColumns / kStepColumns, kLanes * kStepColumns}, b.getI8Type());
  amx::TileType sum = amx::TileType::get({blockRows, kLanes}, b.getI32Type());

  Value load(amx::TileType type, Value memory, Value at, Value stride) {
    return amx::TileLoadOp::create(b, type, memory, ValueRange{at}, stride);
  }

  Value groupAt(Value group) { return b.add(arguments[BStart], b.mul(group, format.groupBytes())); }
  /// Where the sums of a group start: groups take turns in two places, so that one is scaled while the next is multiplied.
  Value sumsOf(Value group) { return b.mul(b.rem(group, 2), kMostTileRows * kPanel); }

  /// The integer sums of a group, index block * 2 + half.
  SmallVector<Value> multiply(Value aStart, Value group) {
    // Zeros from memory, each from a line of its own: LLVM makes one register of tiles that are zero alike, outside the loop, and
    // copies that one by way of memory.
    SmallVector<Value> sums;
    for (int64_t i = 0; i < 2 * blocks; ++i)
      sums.push_back(load(sum, arguments[Sums], b.index(kZerosAt + i * kLanes), b.index(0)));
    Value codes = b.add(b.add(aStart, arguments[CodesAt]), b.mul(group, format.group));
    Value panel = b.add(groupAt(group), format.codesAt()), stride = b.index(format.stepBytes());
    for (int64_t column = 0; column < format.group; column += kByteTileColumns) {
      Value tileAt = b.add(panel, column / kStepColumns * format.stepBytes());
      if (stream)
        prefetch(b, arguments[B], tileAt, kByteTileColumns * kPanel);
      auto loadA = [&](int64_t block) {
        Value first = b.add(codes, b.mul(arguments[AStride], block * kTileRows));
        return load(left, arguments[A], b.add(first, column), arguments[AStride]);
      };
      auto loadB = [&](int64_t half) {
        return load(right, arguments[B], b.add(tileAt, half * kLanes * kStepColumns), stride);
      };
      auto add = [&](int64_t block, int64_t half, Value x, Value weights) {
        Value &target = sums[block * 2 + half];
        target = amx::TileMulIOp::create(b, sum, x, weights, target, /*isZextLhs=*/false, /*isZextRhs=*/true);
      };
      forTilesOfBlock(blocks, loadA, loadB, add);
    }
    return sums;
  }

  /// Adds the scaled sums of a group to C.
  void scale(Value aStart, Value cStart, Value group) {
    Value at = groupAt(group), from = sumsOf(group);
    Halves zeros = reader.zeros(at), scales = format.scale ? reader.relativeScales(at) : Halves{};
    b.loop(rows, 1, [&](Value row) {
      Value which = b.add(b.add(aStart, b.mul(row, arguments[AStride])), b.mul(group, 4));
      Value scale = broadcastWord(b, arguments[A], b.add(which, arguments[ScalesAt]), b.getF32Type());
      Halves start = reader.start(wordOf(b, arguments[A], b.add(which, arguments[SumsAt])), zeros);
      for (int64_t half = 0; half < 2; ++half) {
        Value place = b.add(b.add(from, b.mul(row, kPanel)), half * kLanes);
        Value found = vector::LoadOp::create(b, wordVector(b), arguments[Sums], ValueRange{place});
        Value exact = convert(b, addi(b, found, start[half])), at = b.add(b.add(cStart, b.mul(row, kPanel)), half * kLanes);
        Value all = format.scale ? b.mulf(scale, scales[half]) : scale;
        b.store(b.fma(exact, all, b.load(arguments[C], at)), arguments[C], at);
      }
    });
  }

  void emit() {
    for (int64_t i = 0; i < 2 * blocks; ++i)
      vector::StoreOp::create(b, words(b, 0), arguments[Sums], ValueRange{b.index(kZerosAt + i * kLanes)});
    b.loop(b.index(0), arguments[Times], 1, [&](Value time) {
      Value aStart = b.add(arguments[AStart], b.mul(b.mul(time, rows), arguments[AStride]));
      Value cStart = b.add(arguments[CStart], b.mul(time, rows * kPanel));
      b.loop(b.index(0), arguments[Groups], 1, [&](Value group) {
        SmallVector<Value> sums = multiply(aStart, group);
        b.when(b.less(b.index(0), group), [&] { scale(aStart, cStart, b.sub(group, b.index(1))); });
        for (auto [i, value] : llvm::enumerate(sums)) {
          Value at = b.add(sumsOf(group), static_cast<int64_t>(i) / 2 * kTileRows * kPanel + i % 2 * kLanes);
          amx::TileStoreOp::create(b, arguments[Sums], ValueRange{at}, value, b.index(kPanel));
        }
      });
      scale(aStart, cStart, b.sub(arguments[Groups], b.index(1)));
    });
  }
};

} // namespace

bool x86::groupTilesFit(const Machine &machine, int64_t group) {
  return machine.byteTiles && group >= kMinByteTileGroup && group % kByteTileColumns == 0;
}

void x86::emitGroupTileProduct(KernelBuilder &b, const GroupTileProduct &tile, int64_t rows, Value times, Value cStart) {
  const GroupProduct &p = tile.product;
  assert(p.format.bits == 8 && p.groupsPerScale == 1 && groupTilesFit(b.machine, p.format.group));
  std::string name = "tiles." + p.format.name() + "." + std::to_string(rows) + "x" + std::to_string(kPanel);
  b.callShared(p.stream ? name + ".stream" : name,
               {p.a, tile.aStart, b.index(tile.aStride), p.codesAt, p.scalesAt, p.sumsAt, p.b, p.bStart, p.groups, p.c, cStart,
                times, tile.sums},
               [&](KernelBuilder &b, ValueRange arguments) { GroupTileKernel{b, arguments, p.format, p.stream, rows}.emit(); });
}
