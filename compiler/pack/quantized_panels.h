// Panels of quantized weights: #qwen.layout of !qwen.quant (dialects/QwenDialect.td), made row by row with the codec.
#pragma once

#include "compiler/pack/rows.h"
#include "dialects/quantization/quantize.h"

#include <span>
#include <vector>

namespace qwench::pack {

/// Geometry of a panel of quantized rows.
struct QuantizedPanelShape {
  quantization::Format format;
  int64_t depth = 4;         ///< columns of a step: 1, 2, 4 or 8
  int64_t paddedColumns = 0; ///< a multiple of the group and of 16
  int64_t bytes = 0;         ///< of the panel
  bool planes = false;       ///< all codes first, then all scales, ...
};

/// Writes one panel from the rows of its lanes, whose number is even for 4-bit codes; what the layout rounds up is zeros.
void packQuantizedPanel(std::span<const quantization::Row> lanes, const QuantizedPanelShape &shape, std::byte *to);

/// Makes a range of a matrix's panels: quantizes floats, and takes over the codes of checkpoints. One object serves one
/// thread.
class QuantizedPanels {
public:
  explicit QuantizedPanels(const PackPlan &plan, const Matrix &matrix) : plan(plan), matrix(matrix) {}

  /// Writes panels first .. first + count. Fails, with the tensor's name, on numbers that the format cannot hold.
  Status fill(int64_t first, int64_t count, std::byte *out);

private:
  /// Scales of a block of rows of one segment.
  struct Block {
    const Segment *segment;
    int64_t index;
    std::vector<float> scales;
  };

  Status encode(const Segment &segment, int64_t row, quantization::Row &to);
  Status fillLanes(std::span<const int64_t> rows, std::span<quantization::Row> lanes);
  Status takeOver(const RowRun &run, std::span<quantization::Row> to);
  Result<const Block *> blockOf(const Segment &segment, int64_t index);
  void stage(const Segment &segment, int64_t row);
  Error within(const Segment &segment, int64_t row, Error error) const;

  const PackPlan &plan;
  const Matrix &matrix;
  std::vector<uint8_t> codes; ///< of rows that follow one another in a quantized segment, [count, columns]
  std::vector<float> staged;  ///< a source row as floats, [paddedColumns]
  std::vector<Block> blocks;  ///< of the range: computed when its first row is met
};

} // namespace qwench::pack
