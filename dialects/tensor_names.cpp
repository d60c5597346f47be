#include "dialects/tensor_names.h"

using namespace mlir;

namespace qwench::qwen {

namespace {

constexpr StringLiteral kLayer = "{layer}", kExpert = "{expert}";

void replaceAll(std::string &text, StringRef what, int64_t by) {
  std::string number = std::to_string(by);
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += number.size())
    text.replace(at, what.size(), number);
}

} // namespace

bool hasTensorPerExpert(WeightOp weight) { return weight.getSource()->contains(kExpert); }

std::string tensorName(WeightOp weight, int64_t instance, int64_t expert) {
  std::string name = weight.getSource()->str();
  if (!weight.getLayers().empty())
    replaceAll(name, kLayer, weight.getLayers()[instance]);
  if (expert >= 0)
    replaceAll(name, kExpert, expert);
  return name;
}

} // namespace qwench::qwen
