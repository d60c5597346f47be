#include "compiler/pack/quantized_panels.h"

#include <algorithm>
#include <cstring>

namespace qwench::pack {

using quantization::Format;
using quantization::Row;

namespace {

/// `steps` steps of a group's codes: a unit is the `depth` codes of a lane. 16 steps at a time read whole cache lines of
/// each lane and write within the first-level cache.
template <typename Unit>
void packSteps(std::span<const Row> lanes, bool nibbles, int64_t firstColumn, int64_t steps, std::byte *to) {
  constexpr int64_t depth = sizeof(Unit), block = 16;
  int64_t columns = static_cast<int64_t>(nibbles ? lanes.size() / 2 : lanes.size());
  for (int64_t begin = 0; begin < steps; begin += block) {
    int64_t end = std::min(begin + block, steps);
    for (int64_t lane = 0; lane < columns; lane++) {
      const uint8_t *low = lanes[lane].codes.data() + firstColumn;
      const uint8_t *high = nibbles ? lanes[lane + columns].codes.data() + firstColumn : nullptr;
      for (int64_t step = begin; step < end; step++) {
        Unit unit, upper;
        std::memcpy(&unit, low + step * depth, depth);
        if (nibbles) {
          std::memcpy(&upper, high + step * depth, depth);
          unit = static_cast<Unit>(unit | upper << 4);
        }
        std::memcpy(to + (step * columns + lane) * depth, &unit, depth);
      }
    }
  }
}

} // namespace

void packQuantizedPanel(std::span<const Row> lanes, const QuantizedPanelShape &shape, std::byte *to) {
  const Format &format = shape.format;
  auto width = static_cast<int64_t>(lanes.size());
  int64_t groups = format.groups(shape.paddedColumns), columns = format.groupColumns(shape.paddedColumns);
  quantization::PanelParts parts = quantization::panelParts(format, width, shape.paddedColumns, shape.planes);
  bool nibbles = quantization::bitsOf(format.storage) == 4;
  quantization::Scale scale = format.group ? format.scale : quantization::Scale::F32;
  std::memset(to + shape.bytes - 64, 0, 64); // what rounds up a panel is less than that
  for (int64_t lane = 0; format.rowScales && lane < width; lane++)
    std::memcpy(to + parts.rowScales + 4 * lane, &lanes[lane].rowScale, 4);
  auto pack = shape.depth == 8   ? packSteps<uint64_t>
              : shape.depth == 4 ? packSteps<uint32_t>
              : shape.depth == 2 ? packSteps<uint16_t>
                                 : packSteps<uint8_t>;
  for (int64_t group = 0; group < groups; group++) {
    for (int64_t lane = 0; lane < width; lane++) {
      std::byte *at = to + parts.scales + group * parts.scalesStride + lane * quantization::bytesOf(scale);
      storeScale(scale, lanes[lane].scales[group], at);
      if (format.zeroPoints)
        to[parts.zeros + group * parts.zerosStride + lane] = static_cast<std::byte>(lanes[lane].zeros[group]);
    }
    pack(lanes, nibbles, group * columns, columns / shape.depth, to + parts.codes + group * parts.codesStride);
  }
}

void QuantizedPanels::stage(const Segment &segment, int64_t row) {
  if (segment.quantized)
    return segment.quantized->values(row, 1, staged.data(), matrix.columns);
  int64_t rowBytes = matrix.columns * (hf::bits(segment.type) / 8);
  convert(segment.data + row * rowBytes, segment.type, reinterpret_cast<std::byte *>(staged.data()), Element::F32,
          matrix.columns);
}

Error QuantizedPanels::within(const Segment &segment, int64_t row, Error error) const {
  error.message = "tensor '" + plan.tensors[segment.tensor].name + "', row " + std::to_string(row) + ": " + error.message;
  return error;
}

Result<const QuantizedPanels::Block *> QuantizedPanels::blockOf(const Segment &segment, int64_t index) {
  for (const Block &block : blocks)
    if (block.segment == &segment && block.index == index)
      return &block;
  const Format &format = *matrix.format;
  Block block{&segment, index, std::vector<float>(format.groups(matrix.paddedColumns), 0.0f)};
  int64_t end = std::min((index + 1) * format.groupRows, segment.rows);
  for (int64_t row = index * format.groupRows; row < end; row++) {
    stage(segment, row);
    if (Status status = addMaxima(format, staged, block.scales); !status)
      return within(segment, row, status.takeError());
  }
  blockScales(format, block.scales);
  blocks.push_back(std::move(block));
  return &blocks.back();
}

/// Copies the codes of rows that keep them.
Status QuantizedPanels::takeOver(const RowRun &run, std::span<Row> to) {
  const Format &format = *matrix.format;
  const hf::QuantizedMatrix &source = *run.segment->quantized;
  codes.resize(run.count * matrix.columns);
  source.codes(run.first, run.count, codes.data(), matrix.columns);
  for (int64_t i = 0; i < run.count; i++) {
    Row &lane = to[i];
    const uint8_t *from = codes.data() + i * matrix.columns;
    if (format.storage == quantization::Storage::E4M3 &&
        std::any_of(from, from + matrix.columns, [](uint8_t code) { return (code & 0x7f) == 0x7f; }))
      return within(*run.segment, run.first + i, userError("expected finite numbers, found nan"));
    lane.clear(format, matrix.paddedColumns);
    std::copy_n(from, matrix.columns, lane.codes.data());
    source.scales(run.first + i, lane.scales.data());
    if (!format.zeroPoints)
      continue;
    source.zeros(run.first + i, lane.zeros.data());
    // What is padded within a group is 0 as well.
    for (int64_t k = matrix.columns; k < matrix.paddedColumns; k++)
      lane.codes[k] = lane.zeros[k / format.group];
  }
  return ok();
}

Status QuantizedPanels::encode(const Segment &segment, int64_t row, Row &to) {
  std::span<const float> scales;
  if (matrix.format->groupRows > 1) {
    Result<const Block *> block = blockOf(segment, row / matrix.format->groupRows);
    if (!block)
      return block.takeError();
    scales = (*block)->scales;
  }
  stage(segment, row);
  if (Status status = quantizeRow(*matrix.format, staged, scales, to); !status)
    return within(segment, row, status.takeError());
  return ok();
}

Status QuantizedPanels::fill(int64_t first, int64_t count, std::byte *out) {
  QuantizedPanelShape shape{*matrix.format, matrix.depth, matrix.paddedColumns, matrix.unitBytes(), matrix.planes};
  staged.assign(matrix.paddedColumns, 0.0f);
  std::vector<Row> lanes(matrix.width);
  std::vector<int64_t> rows(matrix.width);
  for (int64_t panel = first; panel < first + count; panel++, out += matrix.unitBytes()) {
    for (int64_t lane = 0; lane < matrix.width; lane++)
      rows[lane] = laneRow(matrix, panel, lane);
    if (Status status = fillLanes(rows, lanes); !status)
      return status;
    packQuantizedPanel(lanes, shape, out);
  }
  return ok();
}

Status QuantizedPanels::fillLanes(std::span<const int64_t> rows, std::span<Row> lanes) {
  for (size_t lane = 0; lane < lanes.size();) {
    if (rows[lane] < 0) {
      lanes[lane++].clear(*matrix.format, matrix.paddedColumns);
      continue;
    }
    RowRun run = firstRun(matrix, rows.subspan(lane));
    if (run.segment->keepsCodes) {
      if (Status status = takeOver(run, lanes.subspan(lane)); !status)
        return status;
    } else {
      for (int64_t i = 0; i < run.count; i++)
        if (Status status = encode(*run.segment, run.first + i, lanes[lane + i]); !status)
          return status;
    }
    lane += run.count;
  }
  return ok();
}

} // namespace qwench::pack
