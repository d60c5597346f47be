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
  if (!isa<FloatType>(elementType))
    return emitError() << "expected a float element type, found " << elementType;
  return success();
}

LogicalResult LayoutAttr::verify(function_ref<InFlightDiagnostic()> emitError, StringRef kind, int64_t width, int64_t depth,
                               int64_t align, bool pairHalves) {
  if (align < 1 || depth < 1 || align % depth)
    return emitError() << "expected align to be a multiple of depth " << depth << ", found " << align;
  if (kind == "rows")
    return width == 1 && depth == 1 && !pairHalves
               ? success()
               : emitError() << "expected width 1, depth 1 and no pair_halves for rows";
  if (kind != "panels")
    return emitError() << "expected layout rows or panels, found " << kind;
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
