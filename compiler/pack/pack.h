// Writes the weight section of a compiled model: every weight of a planned module, in its layout, at its place.
#pragma once

#include "compiler/pack/layout.h"
#include "dialects/quantization/quantize.h"
#include "frontends/huggingface/quantized_matrix.h"
#include "runtime/abi/result.h"

#include "mlir/IR/BuiltinOps.h"

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace qwench::pack {

/// Where tensors come from. Called from several threads at once.
class TensorSource {
public:
  virtual ~TensorSource() = default;
  /// The tensor of that name; the view stays valid as long as the source.
  virtual Result<hf::TensorView> find(std::string_view name) const = 0;
  /// The matrix of that name if the checkpoint holds it quantized, else null; find() is not asked for it then.
  virtual Result<std::shared_ptr<const hf::QuantizedMatrix>> findQuantized(std::string_view name) const {
    return std::shared_ptr<const hf::QuantizedMatrix>();
  }
  /// Told when nothing of the tensor is needed any more.
  virtual void release(const hf::TensorView &view) const {}
};

/// Consecutive rows of a matrix that come from one tensor.
struct Segment {
  const std::byte *data = nullptr; ///< [rows, columns], row-major; null if quantized
  hf::DType type = hf::DType::F32;
  int64_t rows = 0;
  size_t tensor = 0; ///< index into PackPlan::tensors
  std::shared_ptr<const hf::QuantizedMatrix> quantized = nullptr; ///< [rows, columns]
  bool keepsCodes = false; ///< the matrix's format is that of `quantized`, whose codes go into it as they are
};

/// One matrix of the section: an instance of a weight, or one expert of it. A vector is a matrix of one
/// column in its source, and one row in the section.
struct Matrix {
  std::vector<Segment> segments;
  int64_t rows = 0, columns = 0;
  bool vector = false, panels = false, planes = false, swizzled = false, pairHalves = false;
  int64_t width = 1, depth = 1;
  int64_t paddedColumns = 0; ///< of a row in the section
  Element element = Element::F32;
  std::optional<quantization::Format> format; ///< of quantized panels, in place of `element`
  int64_t panelBytes = 0;                     ///< of quantized panels
  uint64_t offset = 0; ///< bytes from the start of the section
  int64_t units = 0;   ///< panels, or rows of the section: what a thread takes at a time is a range of them

  int64_t unitBytes() const {
    return format ? panelBytes : (panels ? width : 1) * paddedColumns * bytesOf(element);
  }
  uint64_t bytes() const { return static_cast<uint64_t>(units) * unitBytes(); }
};

struct PackPlan {
  std::vector<Matrix> matrices;
  std::vector<hf::TensorView> tensors;
  uint64_t bytes = 0;  ///< of all matrices
  uint64_t extent = 0; ///< end of the last one: the section's size
};

/// Finds and checks every tensor that the module's placed weights need: missing ones, wrong shapes, and types
/// other than f32, f16 and bf16, unless the source knows how they are quantized, are errors. Reads no data.
Result<PackPlan> planPacking(mlir::ModuleOp planned, const TensorSource &source);

/// Bytes of the weight section of a planned module: what its `qwen.plan` says, else the end of the last weight.
Result<uint64_t> sectionBytes(mlir::ModuleOp planned);

struct PackOptions {
  int descriptor = -1; ///< file to write to, with pwrite; bytes that no weight covers are not written
  uint64_t offset = 0; ///< of the section in the file
  int threads = 1;
  std::function<void(uint64_t done, uint64_t total)> progress; ///< bytes; from one thread at a time
};

/// Writes the section, quantizing what the module has in quantized types: numbers that are not finite are errors then. The
/// bytes do not depend on the number of threads. Each thread holds one block of about a megabyte; source pages are
/// released as soon as their tensor is done.
Status runPacking(const PackPlan &plan, const TensorSource &source, const PackOptions &options);

} // namespace qwench::pack
