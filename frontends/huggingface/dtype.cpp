#include "frontends/huggingface/dtype.h"

#include <iterator>

namespace qwench::hf {
namespace {

struct DTypeInfo {
  DType dtype;
  std::string_view name;
  int bits;
};

constexpr DTypeInfo kDTypes[] = {
    {DType::BOOL, "BOOL", 8},       {DType::U8, "U8", 8},           {DType::I8, "I8", 8},
    {DType::U16, "U16", 16},        {DType::I16, "I16", 16},        {DType::U32, "U32", 32},
    {DType::I32, "I32", 32},        {DType::U64, "U64", 64},        {DType::I64, "I64", 64},
    {DType::F64, "F64", 64},        {DType::F32, "F32", 32},        {DType::F16, "F16", 16},
    {DType::BF16, "BF16", 16},      {DType::F8_E4M3, "F8_E4M3", 8}, {DType::F8_E5M2, "F8_E5M2", 8},
    {DType::F8_E8M0, "F8_E8M0", 8}, {DType::F6_E2M3, "F6_E2M3", 6}, {DType::F6_E3M2, "F6_E3M2", 6},
    {DType::F4, "F4", 4},           {DType::C64, "C64", 64},
};

const DTypeInfo &info(DType dtype) {
  const DTypeInfo &entry = kDTypes[static_cast<size_t>(dtype)];
  return entry;
}

constexpr bool tableFollowsEnum() {
  for (size_t i = 0; i < std::size(kDTypes); ++i)
    if (kDTypes[i].dtype != static_cast<DType>(i))
      return false;
  return true;
}
static_assert(tableFollowsEnum());

} // namespace

std::optional<DType> parseDType(std::string_view name) {
  for (const DTypeInfo &entry : kDTypes)
    if (entry.name == name)
      return entry.dtype;
  return std::nullopt;
}

std::optional<DType> parseTorchDType(std::string_view name) {
  constexpr std::string_view prefix = "torch.";
  if (name.starts_with(prefix))
    name.remove_prefix(prefix.size());
  if (name == "bfloat16")
    return DType::BF16;
  if (name == "float16" || name == "half")
    return DType::F16;
  if (name == "float32" || name == "float")
    return DType::F32;
  if (name == "float64" || name == "double")
    return DType::F64;
  if (name == "float8_e4m3fn")
    return DType::F8_E4M3;
  if (name == "float8_e5m2")
    return DType::F8_E5M2;
  return std::nullopt;
}

std::string_view name(DType dtype) { return info(dtype).name; }
int bits(DType dtype) { return info(dtype).bits; }

bool isPlainFloat(DType dtype) { return dtype == DType::F32 || dtype == DType::F16 || dtype == DType::BF16; }

} // namespace qwench::hf
