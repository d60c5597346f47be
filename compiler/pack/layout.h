// Data movement of packing: element conversion, and the layouts of #qwen.layout (dialects/QwenDialect.td).
#pragma once

#include "frontends/huggingface/dtype.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace qwench::pack {

/// Element formats of packed weights.
enum class Element { BF16, F32 };
inline int64_t bytesOf(Element element) { return element == Element::BF16 ? 2 : 4; }

/// Converts `count` elements at `from` (F32, F16 or BF16, any alignment) to `element` format at `to`: exactly, or to the
/// nearest bf16, ties to even; a NaN stays a NaN.
void convert(const std::byte *from, hf::DType type, std::byte *to, Element element, int64_t count);

/// A row of a source matrix; no data is a row of zeros.
struct SourceRow {
  const std::byte *data = nullptr;
  hf::DType type = hf::DType::F32;
};

/// Shape of a panel: `width` rows, columns in steps of `depth`.
struct PanelShape {
  int64_t width = 1;
  int64_t depth = 1;
  int64_t columns = 0;       ///< of the source
  int64_t paddedColumns = 0; ///< of the panel, a multiple of depth; what is padded holds zeros
  bool swizzled = false;     ///< depth is 64 elements of 2 bytes, and piece p, 16 bytes, of row n is at p ^ n % 8
};

/// Writes one panel of paddedColumns * width elements: element (lane, k) goes to
/// `(k / depth * width + lane) * depth + k % depth`. rows.size() = shape.width.
void packPanel(std::span<const SourceRow> rows, const PanelShape &shape, Element element, std::byte *to);

} // namespace qwench::pack
