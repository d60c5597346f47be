// Element types of tensors in a safetensors file.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace qwench::hf {

/// The types the safetensors format knows, named as it names them.
enum class DType : uint8_t {
  BOOL,
  U8,
  I8,
  U16,
  I16,
  U32,
  I32,
  U64,
  I64, //
  F64,
  F32,
  F16,
  BF16,
  F8_E4M3,
  F8_E5M2,
  F8_E8M0,
  F6_E2M3,
  F6_E3M2,
  F4,
  C64, //
};

/// The type of that name in a safetensors header ("BF16"), or nothing.
std::optional<DType> parseDType(std::string_view name);

/// The type of that name in a config.json ("bfloat16", "torch.bfloat16"), or nothing. Floating-point types
/// only.
std::optional<DType> parseTorchDType(std::string_view name);

/// The safetensors name: "BF16".
std::string_view name(DType dtype);

/// Bits of one element: 16 for BF16, 4 for F4.
int bits(DType dtype);

/// Whether weights of this type can be read as plain numbers without scales: F32, F16, BF16.
bool isPlainFloat(DType dtype);

} // namespace qwench::hf
