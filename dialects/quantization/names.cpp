#include "dialects/quantization/names.h"

#include "dialects/quantization/type.h"

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace qwench::quantization {

namespace {

struct Named {
  llvm::StringLiteral name;
  Format format;
  bool grouped; ///< whether the group is the user's choice
};

constexpr Named kFormats[] = {
    {"int8", {Storage::I8, 0, Scale::F32}, true},
    {"int4", {Storage::I4, 64, Scale::F16}, true},
    {"int4z", {Storage::I4, 64, Scale::F16, 1, true}, true},
    {"mxfp4", {Storage::E2M1, 32, Scale::E8M0}, false},
    {"nvfp4", {Storage::E2M1, 16, Scale::E4M3, 1, false, true}, false},
    {"fp8", {Storage::E4M3, 128, Scale::F32, 128}, false},
};

/// A format with another group; groups of int8 have f16 scales.
Format withGroup(Format format, int64_t group) {
  format.group = group;
  format.scale = group ? Scale::F16 : format.scale;
  return format;
}

Error unknown(std::string_view name) {
  return userError("expected a format of " + elementNames() + " (int8, int4 and int4z also with :GROUP), found '" +
                   std::string(name) + "'");
}

} // namespace

std::string elementNames() {
  std::string names = "f32, bf16";
  for (const Named &named : kFormats)
    names += ", " + named.name.str();
  return names;
}

Result<Type> parseElement(MLIRContext *context, std::string_view text, int64_t group) {
  auto [name, suffix] = StringRef(text).split(':');
  bool explicitGroup = StringRef(text).contains(':');
  if (explicitGroup && suffix.getAsInteger(10, group))
    return unknown(text);
  if ((explicitGroup || group) && (group < 16 || group > 1024 || group % 16))
    return userError("expected a group of 16 to 1024 columns, a multiple of 16, found " + std::to_string(group));
  if (!explicitGroup && (name == "f32" || name == "bf16"))
    return name == "f32" ? Type(Float32Type::get(context)) : Type(BFloat16Type::get(context));
  for (const Named &named : kFormats)
    if (name == named.name) {
      if (explicitGroup && !named.grouped)
        return userError("expected no group with " + name.str() + ", whose groups are fixed, found '" + std::string(text) +
                         "'");
      return Type(typeOf(context, named.grouped && group ? withGroup(named.format, group) : named.format));
    }
  return unknown(text);
}

std::string elementName(Type type) {
  if (auto quant = dyn_cast<qwen::QuantType>(type))
    for (const Named &named : kFormats) {
      if (quant == typeOf(type.getContext(), named.format))
        return named.name.str();
      if (named.grouped && quant.getGroup() &&
          quant == typeOf(type.getContext(), withGroup(named.format, quant.getGroup())))
        return named.name.str() + ":" + std::to_string(quant.getGroup());
    }
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

} // namespace qwench::quantization
