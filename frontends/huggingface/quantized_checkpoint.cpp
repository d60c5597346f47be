// The quantized matrices of a checkpoint: which tensors make one.
#include "frontends/huggingface/checkpoint.h"
#include "frontends/huggingface/expert_tensors.h"

#include <algorithm>

namespace qwench::hf {
namespace {

constexpr std::string_view kWeight = "weight";

/// "model.layers.0.mlp.up_proj." of "model.layers.0.mlp.up_proj.weight".
std::string stemOf(std::string_view name) {
  return std::string(name.substr(0, name.size() - kWeight.size()));
}

/// One expert's part of the scales [experts, blocks, blocks] of fused experts.
Result<TensorView> sliceScales(const TensorView &fused, int64_t expert) {
  if (fused.shape.size() != 3 || bits(fused.dtype) % 8 != 0 || expert >= fused.shape[0])
    return userError("expected scales [experts, blocks, blocks] in " + fused.name + ", found " +
                     std::string(name(fused.dtype)) + " " + formatShape(fused.shape));
  TensorView slice = fused;
  slice.shape.erase(slice.shape.begin());
  slice.bytes /= static_cast<size_t>(fused.shape[0]);
  slice.data += static_cast<size_t>(expert) * slice.bytes;
  return slice;
}

} // namespace

bool Checkpoint::isQuantized(const ExpectedTensor &expected) const {
  if (!quantization || expected.shape.size() != 2)
    return false;
  if (quantization->method != QuantMethod::Fp8)
    return lookUp(stemOf(expected.name) + "qweight") != nullptr;
  const TensorView *stored = lookUpWhole(expected.name);
  return stored && stored->dtype == DType::F8_E4M3;
}

Status Checkpoint::checkQuantized(const ExpectedTensor &expected, std::set<std::string_view> &used) {
  Result<QuantizedMatrix> matrix = makeQuantized(expected.name, expected.shape[0], expected.shape[1], used);
  if (!matrix)
    return userError(directory + ": " + matrix.error().message);
  if (quantization->excludes(expected.name))
    return userError(directory + ": expected " + expected.name +
                     " of type F32, F16 or BF16 as modules_to_not_convert says, found it quantized");
  Result<StoredFormat> format = matrix->examine();
  if (!format)
    return userError(directory + ": " + format.error().message);
  quantizedMatrices.emplace(expected.name, Stored{*format, expected.shape[0], expected.shape[1]});
  return ok();
}

Result<QuantizedMatrix> Checkpoint::makeQuantized(const std::string &name, int64_t rows, int64_t columns,
                                                  std::set<std::string_view> &used) const {
  if (quantization->method == QuantMethod::Fp8)
    return makeFp8(name, rows, columns, used);
  QuantizedParts parts;
  std::string stem = stemOf(name);
  for (auto [suffix, part] : {std::pair("qweight", &parts.weight), std::pair("scales", &parts.scales),
                              std::pair("qzeros", &parts.zeros), std::pair("g_idx", &parts.groups)}) {
    bool optional = part == &parts.groups;
    if (optional && quantization->method == QuantMethod::Awq)
      continue;
    const TensorView *view = lookUp(stem + suffix);
    if (!view && !optional)
      return userError("missing tensor " + stem + suffix);
    if (!view)
      continue;
    used.insert(view->name);
    *part = *view;
  }
  return QuantizedMatrix::make(*quantization, rows, columns, parts, rows, 0);
}

Result<QuantizedMatrix> Checkpoint::makeFp8(const std::string &name, int64_t rows, int64_t columns,
                                            std::set<std::string_view> &used) const {
  const TensorView *whole = lookUpWhole(name), *own = lookUp(name);
  std::string scalesName = own ? name + "_scale_inv" : fusedName(*parseExpertName(name)) + "_scale_inv";
  const TensorView *scales = lookUp(scalesName);
  if (!scales)
    return userError("missing tensor " + scalesName);
  used.insert(whole->name);
  used.insert(scales->name);
  if (own)
    return QuantizedMatrix::make(*quantization, rows, columns, {*own, *scales, {}, {}}, rows, 0);
  ExpertName expert = *parseExpertName(name);
  Result<TensorView> weight = sliceExpert(*whole, expert, name);
  if (!weight)
    return weight.takeError();
  Result<TensorView> slice = sliceScales(*scales, expert.expert);
  if (!slice)
    return slice.takeError();
  bool down = expert.projection == "down";
  return QuantizedMatrix::make(*quantization, rows, columns, {*weight, *slice, {}, {}},
                               down ? rows : 2 * rows, expert.projection == "up" ? rows : 0);
}

const StoredFormat *Checkpoint::storedFormat(std::string_view name) const {
  auto it = quantizedMatrices.find(name);
  return it == quantizedMatrices.end() ? nullptr : &it->second.format;
}

Result<QuantizedMatrix> Checkpoint::quantized(std::string_view name) const {
  auto it = quantizedMatrices.find(name);
  if (it == quantizedMatrices.end())
    return internalError(directory + ": " + std::string(name) + " is not known to be quantized");
  std::set<std::string_view> used;
  Result<QuantizedMatrix> matrix = makeQuantized(it->first, it->second.rows, it->second.columns, used);
  if (matrix)
    matrix->setFormat(it->second.format);
  return matrix;
}

bool Checkpoint::isZeroBias(std::string_view name) const {
  constexpr std::string_view suffix = ".bias";
  if (!name.ends_with(suffix))
    return false;
  std::string weight = std::string(name.substr(0, name.size() - suffix.size())) + ".weight";
  if (withoutPrefix)
    weight = "model." + weight;
  const TensorView *bias = lookUp(name);
  return storedFormat(weight) && bias && isPlainFloat(bias->dtype) &&
         std::all_of(bias->data, bias->data + bias->bytes, [](std::byte b) { return b == std::byte(); });
}

} // namespace qwench::hf
