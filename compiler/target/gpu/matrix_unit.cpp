#include "compiler/target/gpu/matrix_unit.h"

#include "mlir/Dialect/AMDGPU/IR/AMDGPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"

using namespace mlir;

namespace qwench::gpu {

/// Pieces that pass over all 32 banks.
constexpr int64_t kPiecesOfBanks = 8;

Value StagedRows::place(KernelBuilder &b, Value row, Value piece) const {
  int64_t pieces = stride / kPiece;
  if (pieces == kPiecesOfBanks / 2 || pieces == kPiecesOfBanks)
    piece = arith::XOrIOp::create(b, piece, b.rem(b.div(row, kPiecesOfBanks / pieces), pieces));
  return b.add(b.mul(row, stride), b.mul(piece, kPiece));
}

Fragments::Fragments(KernelBuilder &b)
    : unit(b.device.matrix == MatrixUnit::Wgmma ? MatrixUnit::MmaSync : b.device.matrix), row(b.rem(b.lane, kRows)), part(b.div(b.lane, kRows)), low(row), high(part) {
  if (unit == MatrixUnit::MmaSync)
    low = b.rem(b.lane, 4), high = b.div(b.lane, 4);
}

int64_t Fragments::sums() const { return unit == MatrixUnit::MmaSync || unit == MatrixUnit::Mfma ? 4 : 8; }

Value Fragments::laneRow(KernelBuilder &b) const {
  return unit == MatrixUnit::Mfma ? b.mul(high, 4) : unit == MatrixUnit::Wmma12 ? b.mul(high, 8) : high;
}

int64_t Fragments::rowOffset(int64_t i) const {
  return unit == MatrixUnit::MmaSync ? i / 2 * 8 : unit == MatrixUnit::Wmma11 ? 2 * i : i;
}

/// Element of the piece of `input`, and so many pieces further, of the lane's row among those from `first` on.
static Value placeOf(KernelBuilder &b, const StagedRows &rows, int64_t first, Value row, int64_t input, Value pieces) {
  Value ofLane = rows.place(b, row, b.add(pieces, input / kPiece));
  return b.add(b.add(rows.start, ofLane), first * rows.stride);
}

/// Four matrices of 8 rows by 8 inputs, two neighbours of a row of each to a lane. Lane 8 m + i names the piece at which row i
/// of matrix m stands. Transposed, a lane has two neighbours of a column.
static SmallVector<Value> loadMatrices(KernelBuilder &b, Value memory, Value at, bool transposed = false) {
  auto type = VectorType::get({4, 2}, b.getBF16Type());
  Value loaded = nvgpu::LdMatrixOp::create(b, type, memory, ValueRange{at}, transposed, 4);
  SmallVector<Value> matrices;
  for (int64_t i = 0; i < 4; ++i)
    matrices.push_back(b.extract(loaded, i));
  return matrices;
}

SmallVector<Value> Fragments::loadVector(KernelBuilder &b, const StagedRows &rows, int64_t first, int64_t input) const {
  auto load = [&](Value pieces, Value within, int64_t count) -> Value {
    Value at = b.add(placeOf(b, rows, first, row, input, pieces), within);
    return vector::LoadOp::create(b, b.vectorOf(count, b.getBF16Type()), rows.memory, ValueRange{at}, false,
                                  llvm::MaybeAlign(2 * count));
  };
  Value none = b.index(0);
  if (unit == MatrixUnit::Mfma) // half pieces
    return {load(b.div(part, 2), b.mul(b.rem(part, 2), kPiece / 2), kPiece / 2)};
  if (unit == MatrixUnit::Wmma12)
    return {load(part, none, kPiece)};
  auto order = llvm::to_vector(llvm::seq<int64_t>(0, kInputs));
  return {vector::ShuffleOp::create(b, load(none, none, kPiece), load(b.index(1), none, kPiece), order)};
}

SmallVector<Value> Fragments::loadA(KernelBuilder &b, const StagedRows &rows, int64_t first, int64_t input) const {
  if (unit != MatrixUnit::MmaSync)
    return loadVector(b, rows, first, input);
  // The upper and the lower rows of the first inputs, then of the others: the order of A's registers.
  return loadMatrices(b, rows.memory, placeOf(b, rows, first, row, input, part));
}

SmallVector<SmallVector<Value>> Fragments::loadB(KernelBuilder &b, const StagedRows &rows, int64_t first, int64_t input) const {
  if (unit != MatrixUnit::MmaSync)
    return {loadVector(b, rows, first, input)};
  // All inputs of the upper rows, then of the lower ones: a fragment's registers follow one another, as B's have to.
  Value column = b.add(b.rem(b.lane, 8), b.mul(part, 8)), half = b.rem(b.div(b.lane, 8), 2);
  auto loaded = loadMatrices(b, rows.memory, placeOf(b, rows, first, column, input, half));
  return {{loaded[0], loaded[1]}, {loaded[2], loaded[3]}};
}

SmallVector<SmallVector<Value>> Fragments::loadTransposed(KernelBuilder &b, const StagedRows &rows, int64_t input,
                                                          int64_t column) const {
  // All inputs of the first columns, then of the others.
  auto loaded = loadMatrices(b, rows.memory, placeOf(b, rows, input, row, column, part), /*transposed=*/true);
  return {{loaded[0], loaded[1]}, {loaded[2], loaded[3]}};
}

SmallVector<Value> wordsOf(KernelBuilder &b, ValueRange pairs) {
  SmallVector<Value> words;
  for (Value pair : pairs)
    words.push_back(b.extract(vector::BitCastOp::create(b, b.vectorOf(1, b.getI32Type()), pair), 0));
  return words;
}

/// A lane's elements of C are those of A: two of the upper row and two of the lower, of the first inputs, then of the others.
SmallVector<Value> Fragments::operandOf(KernelBuilder &b, ValueRange sums) const {
  SmallVector<Value> pairs;
  for (Value fragment : sums) {
    Value rounded = arith::TruncFOp::create(b, b.vectorOf(4, b.getBF16Type()), fragment);
    for (int64_t i = 0; i < 4; i += 2)
      pairs.push_back(vector::ShuffleOp::create(b, rounded, rounded, ArrayRef<int64_t>{i, i + 1}));
  }
  return pairs;
}

/// mma.sync takes pairs of bf16 as i32 and single sums.
static Value multiplySync(KernelBuilder &b, ValueRange a, ValueRange bFragment, Value c) {
  SmallVector<Value> sums, results;
  for (int64_t i = 0; i < 4; ++i)
    sums.push_back(b.extract(c, i));
  auto type = LLVM::LLVMStructType::getLiteral(b.getContext(), SmallVector<Type>(4, b.getF32Type()));
  Value product = NVVM::MmaOp::create(b, type, wordsOf(b, a), wordsOf(b, bFragment), sums, ArrayRef<int64_t>{16, 8, 16}, std::nullopt,
                                      std::nullopt, std::array{NVVM::MMATypes::bf16, NVVM::MMATypes::bf16},
                                      std::array{NVVM::MMALayout::row, NVVM::MMALayout::col});
  for (int64_t i = 0; i < 4; ++i)
    results.push_back(LLVM::ExtractValueOp::create(b, b.getF32Type(), product, ArrayRef<int64_t>{i}));
  return vector::FromElementsOp::create(b, b.floats(4), results);
}

Value Fragments::multiply(KernelBuilder &b, ValueRange a, ValueRange bFragment, Value c) const {
  if (unit == MatrixUnit::MmaSync)
    return multiplySync(b, a, bFragment, c);
  if (unit == MatrixUnit::Mfma)
    return amdgpu::MFMAOp::create(b, c.getType(), 16u, 16u, 16u, 1u, a[0], bFragment[0], c);
  return amdgpu::WMMAOp::create(b, c.getType(), 16u, 16u, 16u, a[0], bFragment[0], c);
}

} // namespace qwench::gpu
