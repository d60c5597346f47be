// safetensors files, memory-mapped. A file is: header length (8 bytes, little endian), a JSON header, tensor
// data. https://huggingface.co/docs/safetensors: the tensors cover the data exactly, without gaps or
// overlaps.
#pragma once

#include "frontends/huggingface/dtype.h"
#include "runtime/abi/result.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qwench::hf {

/// One tensor, row-major, in somebody else's memory. The data is little endian and need not be aligned to its
/// element.
struct TensorView {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape; ///< empty for a scalar
  const std::byte *data = nullptr;
  size_t bytes = 0;
};

/// "[2, 3]".
std::string formatShape(std::span<const int64_t> shape);

/// Longest header the format allows.
inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;

/// Reads the header of a whole safetensors file in memory. The views point into `file` and are ordered as
/// their data. `where` names the file in errors. Trusts nothing: lengths, JSON, types, shapes, offsets and
/// coverage are checked.
Result<std::vector<TensorView>> parseSafetensors(std::span<const std::byte> file, std::string_view where);

/// A file mapped for reading; unmapped when the last copy goes.
class MappedFile {
public:
  static Result<MappedFile> open(const std::string &path);
  std::span<const std::byte> bytes() const { return {data.get(), size}; }

private:
  std::shared_ptr<const std::byte> data;
  size_t size = 0;
};

/// A safetensors file: its mapping and its tensors by name.
class SafetensorsFile {
public:
  /// Maps and checks the file. No tensor data is read.
  static Result<SafetensorsFile> open(const std::string &path);

  /// The tensor of that name, or nullptr. Valid as long as the mapping, that is any copy of this object,
  /// lives.
  const TensorView *find(std::string_view name) const;
  /// All tensors in the order of their data.
  const std::vector<TensorView> &tensors() const { return *views; }
  const std::string &path() const { return filePath; }
  size_t fileBytes() const { return file.bytes().size(); }

private:
  std::string filePath;
  MappedFile file;
  std::shared_ptr<const std::vector<TensorView>> views;
  std::shared_ptr<const std::map<std::string_view, size_t>> byName;
};

/// Tells the kernel that the tensor will be read from front to back soon (madvise). Affects speed only.
void adviseSequential(const TensorView &view);

/// Tells the kernel that the tensor's pages can go from memory; reading it again re-reads the file. For
/// mapped views only (private anonymous memory would lose its contents). Keeps streaming a big checkpoint
/// within bounded memory.
void release(const TensorView &view);

} // namespace qwench::hf
