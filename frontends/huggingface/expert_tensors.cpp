#include "frontends/huggingface/expert_tensors.h"

#include <algorithm>
#include <charconv>

namespace qwench::hf {

std::optional<ExpertName> parseExpertName(std::string_view name) {
  constexpr std::string_view marker = ".mlp.experts.", suffix = "_proj.weight";
  size_t at = name.find(marker);
  if (at == std::string_view::npos || !name.ends_with(suffix))
    return std::nullopt;
  std::string_view rest = name.substr(at + marker.size());
  rest.remove_suffix(std::min(suffix.size(), rest.size()));
  ExpertName parsed{name.substr(0, at + marker.size() - 1), 0, {}};
  auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), parsed.expert);
  if (error != std::errc() || end == rest.data() + rest.size() || *end != '.' || parsed.expert < 0)
    return std::nullopt;
  parsed.projection = rest.substr(static_cast<size_t>(end - rest.data()) + 1);
  if (parsed.projection != "gate" && parsed.projection != "up" && parsed.projection != "down")
    return std::nullopt;
  return parsed;
}

std::string fusedName(const ExpertName &name) {
  return std::string(name.experts) + (name.projection == "down" ? ".down_proj" : ".gate_up_proj");
}

Result<TensorView> sliceExpert(const TensorView &fused, const ExpertName &name, std::string_view canonical) {
  bool down = name.projection == "down";
  if (fused.shape.size() != 3 || bits(fused.dtype) % 8 != 0 || (!down && fused.shape[1] % 2 != 0))
    return userError(
        "expected " + fused.name + " to be " +
        (down ? "[experts, hidden, moe_intermediate]" : "[experts, 2 * moe_intermediate, hidden]") +
        ", found " + std::string(hf::name(fused.dtype)) + " " + formatShape(fused.shape));
  if (name.expert >= fused.shape[0])
    return userError("missing tensor " + std::string(canonical) + ": " + fused.name + " holds " +
                     std::to_string(fused.shape[0]) + " experts");
  TensorView slice;
  slice.name = canonical;
  slice.dtype = fused.dtype;
  slice.shape = {down ? fused.shape[1] : fused.shape[1] / 2, fused.shape[2]};
  size_t perExpert = fused.bytes / static_cast<size_t>(fused.shape[0]);
  slice.bytes = down ? perExpert : perExpert / 2;
  slice.data = fused.data + static_cast<size_t>(name.expert) * perExpert;
  if (name.projection == "up")
    slice.data += slice.bytes;
  return slice;
}

} // namespace qwench::hf
