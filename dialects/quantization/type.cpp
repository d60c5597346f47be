#include "dialects/quantization/type.h"

#include "mlir/IR/BuiltinTypes.h"

using namespace mlir;
using qwench::qwen::QuantType;

namespace qwench::quantization {

Format formatOf(QuantType type) {
  Format format;
  format.storage = type.getStorage().isSignlessInteger(8)      ? Storage::I8
                   : type.getStorage().isSignlessInteger(4)    ? Storage::I4
                   : isa<Float4E2M1FNType>(type.getStorage()) ? Storage::E2M1
                                                               : Storage::E4M3;
  format.scale = type.getScale().isF32()                     ? Scale::F32
                 : type.getScale().isF16()                   ? Scale::F16
                 : type.getScale().isBF16()                  ? Scale::BF16
                 : isa<Float8E8M0FNUType>(type.getScale()) ? Scale::E8M0
                                                             : Scale::E4M3;
  format.group = type.getGroup();
  format.groupRows = type.getGroupRows();
  format.zeroPoints = type.getZeroPoints();
  format.rowScales = type.getRowScales();
  return format;
}

static Type storageType(MLIRContext *context, Storage storage) {
  switch (storage) {
  case Storage::I8:
    return IntegerType::get(context, 8);
  case Storage::I4:
    return IntegerType::get(context, 4);
  case Storage::E2M1:
    return Float4E2M1FNType::get(context);
  case Storage::E4M3:
    return Float8E4M3FNType::get(context);
  }
  return {};
}

static Type scaleType(MLIRContext *context, Scale scale) {
  switch (scale) {
  case Scale::F32:
    return Float32Type::get(context);
  case Scale::F16:
    return Float16Type::get(context);
  case Scale::BF16:
    return BFloat16Type::get(context);
  case Scale::E8M0:
    return Float8E8M0FNUType::get(context);
  case Scale::E4M3:
    return Float8E4M3FNType::get(context);
  }
  return {};
}

QuantType typeOf(MLIRContext *context, const Format &format) {
  return QuantType::get(context, storageType(context, format.storage), format.group, scaleType(context, format.scale),
                        format.groupRows, format.zeroPoints, format.rowScales, /*sums=*/0);
}

} // namespace qwench::quantization
