// The dialect's registration, types and attributes.
#include "dialects/Qwen.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace qwench::qwen;

#include "dialects/QwenDialect.cpp.inc"

#include "dialects/QwenEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/QwenAttrs.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/QwenTypes.cpp.inc"

void QwenDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/QwenTypes.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/QwenAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/QwenOps.cpp.inc"
      >();
}

LogicalResult CacheType::verify(function_ref<InFlightDiagnostic()> emitError, int64_t layers, int64_t heads,
                                int64_t dim, Type elementType) {
  if (layers < 1 || heads < 1 || dim < 2 || dim % 2)
    return emitError() << "expected layers >= 1, heads >= 1 and an even dim, found " << layers << ", " << heads
                       << " and " << dim;
  if (!isa<FloatType, QuantType>(elementType))
    return emitError() << "expected a float or quantized element type, found " << elementType;
  auto quant = dyn_cast<QuantType>(elementType);
  if (!quant)
    return success();
  bool i4 = quant.getStorage().isSignlessInteger(4);
  if (quant.getGroupRows() != 1 || quant.getRowScales() || isa<Float4E2M1FNType>(quant.getStorage()) ||
      i4 != quant.getZeroPoints() || isa<Float8E8M0FNUType, Float8E4M3FNType>(quant.getScale()))
    return emitError() << "expected codes of i8, f8E4M3FN or i4 with zero points, of f32, f16 or bf16 scales, found "
                       << elementType;
  if (dim % quant.groupColumns(dim) || dim % 8)
    return emitError() << "expected a dim that is a multiple of the group and of 8, found " << dim;
  return success();
}

QuantType CacheType::getQuant() const { return dyn_cast<QuantType>(getElementType()); }

int64_t CacheType::vectorBytes() const {
  QuantType quant = getQuant();
  if (!quant)
    return getDim() * getElementType().getIntOrFloatBitWidth() / 8;
  int64_t groups = getDim() / quant.groupColumns(getDim());
  return getDim() * quant.codeBits() / 8 + groups * (quant.scaleBytes() + (quant.getZeroPoints() ? 1 : 0));
}

std::string CacheType::formatName() const {
  std::string text;
  QuantType quant = getQuant();
  if (!quant)
    llvm::raw_string_ostream(text) << getElementType();
  else
    text = quant.getStorage().isSignlessInteger(4) ? "int4" : quant.getStorage().isSignlessInteger(8) ? "int8" : "fp8";
  return text;
}

LogicalResult QuantType::verify(function_ref<InFlightDiagnostic()> emitError, Type storage, int64_t group, Type scale,
                                int64_t groupRows, bool zeroPoints, bool rowScales, int64_t sums) {
  bool integer = storage.isSignlessInteger(8) || storage.isSignlessInteger(4);
  if (!integer && !isa<Float4E2M1FNType, Float8E4M3FNType>(storage))
    return emitError() << "expected codes of i8, i4, f4E2M1FN or f8E4M3FN, found " << storage;
  if (!isa<Float32Type, Float16Type, BFloat16Type, Float8E8M0FNUType, Float8E4M3FNType>(scale))
    return emitError() << "expected scales of f32, f16, bf16, f8E8M0FNU or f8E4M3FN, found " << scale;
  if (group < 0 || group % 16 || groupRows < 1)
    return emitError() << "expected a group of 0 or a multiple of 16 columns and at least one row, found " << group << " and "
                       << groupRows;
  if (group == 0 && (!scale.isF32() || zeroPoints || rowScales || groupRows != 1))
    return emitError() << "expected f32 scales and nothing else where the group is a whole row";
  if (zeroPoints && !integer)
    return emitError() << "expected zero points with integer codes only, found " << storage;
  if (sums && (!storage.isSignlessInteger(8) || sums < 0 || sums % 16 || group % sums))
    return emitError() << "expected sums with codes of i8 only, of a multiple of 16 columns that divides the group, found "
                       << sums;
  return success();
}

int64_t QuantType::codeBits() const {
  return getStorage().isSignlessInteger(4) || isa<Float4E2M1FNType>(getStorage()) ? 4 : 8;
}

bool QuantType::isInteger() const { return !isa<Float8E4M3FNType>(getStorage()); }

LogicalResult LayoutAttr::verify(function_ref<InFlightDiagnostic()> emitError, StringRef kind, int64_t width, int64_t depth,
                               int64_t align, bool pairHalves) {
  if (align < 1 || depth < 1 || align % depth)
    return emitError() << "expected align to be a multiple of depth " << depth << ", found " << align;
  if (kind == "rows")
    return width == 1 && depth == 1 && !pairHalves
               ? success()
               : emitError() << "expected width 1, depth 1 and no pair_halves for rows";
  if (kind == "swizzled")
    return width == 8 && depth == 64 && !pairHalves
               ? success()
               : emitError() << "expected width 8, depth 64 and no pair_halves for swizzled";
  if (kind != "panels" && kind != "planes")
    return emitError() << "expected layout rows, panels, planes or swizzled, found " << kind;
  if (width < 1 || depth < 1 || (pairHalves && width % 2))
    return emitError() << "expected positive width and depth, found " << width << " and " << depth;
  return success();
}

static int64_t roundUp(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

int64_t LayoutAttr::paddedOutputs(int64_t n) const {
  return getPairHalves() ? 2 * roundUp(n / 2, getWidth()) : roundUp(n, getWidth());
}

int64_t LayoutAttr::elements(RankedTensorType type) const {
  ArrayRef<int64_t> shape = type.getShape();
  switch (shape.size()) {
  case 1:
    return matrixElements(1, shape[0]);
  case 2:
    return matrixElements(shape[0], shape[1]);
  default:
    return shape[0] * matrixElements(shape[1], shape[2]);
  }
}

int64_t LayoutAttr::panelBytes(int64_t k, Type element) const {
  int64_t columns = paddedInputs(k);
  auto quant = dyn_cast<QuantType>(element);
  if (!quant)
    return getWidth() * columns * element.getIntOrFloatBitWidth() / 8;
  int64_t codes = columns * getWidth() * quant.codeBits() / 8;
  if (quant.getGroup() == 0)
    return roundUp(getWidth() * 4 + codes, 64);
  int64_t perGroup = getWidth() * (quant.scaleBytes() + (quant.getZeroPoints() ? 1 : 0));
  return roundUp((quant.getRowScales() ? getWidth() * 4 : 0) + columns / quant.getGroup() * perGroup + codes, 64);
}

int64_t LayoutAttr::matrixBytes(int64_t n, int64_t k, Type element) const {
  return paddedOutputs(n) / getWidth() * panelBytes(k, element);
}

int64_t LayoutAttr::bytes(RankedTensorType type) const {
  ArrayRef<int64_t> shape = type.getShape();
  Type element = type.getElementType();
  switch (shape.size()) {
  case 1:
    return matrixBytes(1, shape[0], element);
  case 2:
    return matrixBytes(shape[0], shape[1], element);
  default:
    return shape[0] * matrixBytes(shape[1], shape[2], element);
  }
}
