#include "frontends/huggingface/import/stored_types.h"

#include "dialects/quantization/names.h"
#include "dialects/quantization/type.h"

#include <algorithm>

using namespace qwench;
namespace {

constexpr std::string_view kExpert = "{expert}";

} // namespace

qwen::QuantType StoredTypes::decline(const std::string &reason, const std::string &tensor, int64_t count) {
  auto known =
      std::find_if(reasons.begin(), reasons.end(), [&](const Reason &r) { return r.text == reason; });
  if (known == reasons.end())
    known = reasons.insert(known, {reason, tensor, 0});
  known->count += count;
  return {};
}

qwen::QuantType StoredTypes::typeOf(const std::string &tensor, int64_t experts) {
  if (!lookup)
    return {};
  size_t at = tensor.find(kExpert);
  int64_t count = at == std::string::npos ? 1 : experts, quantized = 0;
  std::optional<hf::StoredFormat> common;
  std::string first;
  bool alike = true;
  for (int64_t expert = 0; expert < count; ++expert) {
    std::string name = tensor;
    if (at != std::string::npos)
      name.replace(at, kExpert.size(), std::to_string(expert));
    std::optional<hf::StoredFormat> found = lookup(name);
    alike &= expert == 0 || found == common;
    common = expert == 0 ? found : common;
    if (found && quantized++ == 0)
      first = name;
  }
  if (quantized == 0)
    return {};
  if (!alike)
    return decline("experts of a layer are stored differently", first, quantized);
  std::string reason;
  std::optional<quantization::Format> format = hf::formatOf(*common, reason);
  if (!format)
    return decline(reason, first, quantized);
  qwen::QuantType type = quantization::typeOf(context, *format);
  if (products && !products(type))
    return decline("the target has no products with " + quantization::elementName(type) + " weights", first, quantized);
  return type;
}

std::vector<std::string> StoredTypes::warnings(const std::string &floats) const {
  std::vector<std::string> lines;
  for (const Reason &reason : reasons)
    lines.push_back(reason.first +
                    (reason.count > 1 ? " and " + std::to_string(reason.count - 1) + " more are" : " is") +
                    " dequantized to " + floats + ": " + reason.text);
  return lines;
}
