// Resolves placed weights to source tensors.
#include "compiler/pack/pack.h"

#include "dialects/Qwen.h"
#include "dialects/quantization/type.h"
#include "dialects/tensor_names.h"

#include "mlir/IR/SymbolTable.h"

#include <algorithm>
#include <array>

using namespace mlir;
using qwench::qwen::WeightOp;

namespace qwench::pack {

namespace {

/// Extents of a weight: a stack of `experts` (1 if it is none) matrices [rows, columns].
struct Extents {
  int64_t experts = 1, rows = 0, columns = 1;
  bool stacked = false;
};

std::string quoted(WeightOp weight) { return "weight '@" + weight.getSymName().str() + "'"; }

Result<Extents> extentsOf(WeightOp weight) {
  ArrayRef<int64_t> shape = cast<RankedTensorType>(weight.getType()).getShape();
  if (shape.empty() || shape.size() > 3)
    return internalError(quoted(weight) + ": expected rank 1, 2 or 3, found " + std::to_string(shape.size()));
  Extents extents;
  extents.stacked = shape.size() == 3;
  if (extents.stacked)
    extents.experts = shape[0];
  if (shape.size() >= 2)
    extents.columns = shape.back();
  extents.rows = shape.size() == 3 ? shape[1] : shape[0];
  return extents;
}

Result<Element> elementOf(WeightOp weight) {
  Type type = cast<RankedTensorType>(weight.getType()).getElementType();
  if (type.isF32())
    return Element::F32;
  if (type.isBF16())
    return Element::BF16;
  return internalError(quoted(weight) + ": expected element type f32, bf16 or a quantized one");
}

class Planner {
public:
  Planner(ModuleOp module, const TensorSource *source) : symbols(module), source(source) {}

  Status addWeight(WeightOp weight);
  Status checkOverlaps();
  PackPlan take() { return std::move(plan); }

private:
  Result<Matrix> geometry(WeightOp weight, const Extents &extents);
  Status addSegments(WeightOp weight, int64_t instance, int64_t expert, std::vector<Segment> &segments,
                     int depth);
  Status addSource(WeightOp weight, int64_t instance, int64_t expert, std::vector<Segment> &segments);

  SymbolTable symbols;
  const TensorSource *source; ///< null: only places are wanted
  PackPlan plan;
};

Result<Matrix> Planner::geometry(WeightOp weight, const Extents &extents) {
  Matrix matrix;
  matrix.rows = extents.rows, matrix.columns = extents.columns;
  auto quant = dyn_cast<qwen::QuantType>(cast<RankedTensorType>(weight.getType()).getElementType());
  if (!quant) {
    Result<Element> element = elementOf(weight);
    if (!element)
      return element.takeError();
    matrix.element = *element;
    if (weight.getLayout()->isSwizzled() && bytesOf(matrix.element) != 2)
      return internalError(quoted(weight) + ": expected elements of 2 bytes for a swizzled layout");
  }
  qwen::LayoutAttr layout = *weight.getLayout();
  matrix.vector = cast<RankedTensorType>(weight.getType()).getRank() == 1;
  matrix.panels = layout.isPanels(), matrix.planes = layout.isPlanes(), matrix.swizzled = layout.isSwizzled();
  matrix.width = layout.getWidth(), matrix.depth = layout.getDepth(),
  matrix.pairHalves = layout.getPairHalves();
  if (matrix.vector && matrix.panels)
    return internalError(quoted(weight) + ": expected layout rows for a vector");
  matrix.paddedColumns = layout.paddedInputs(matrix.vector ? matrix.rows : matrix.columns);
  matrix.units = matrix.vector ? 1 : layout.paddedOutputs(matrix.rows) / matrix.width;
  if (matrix.pairHalves && matrix.rows % 2)
    return internalError(quoted(weight) + ": expected an even number of rows with pair_halves, found " +
                         std::to_string(matrix.rows));
  if (quant) {
    matrix.format = quantization::formatOf(quant);
    matrix.panelBytes = layout.panelBytes(matrix.columns, quant);
    int64_t depth = matrix.depth, multiple = std::max<int64_t>(quant.getGroup(), 16);
    if (!matrix.panels || matrix.width % 2 || matrix.paddedColumns % multiple || depth > 8 || !llvm::isPowerOf2_64(depth))
      return internalError(quoted(weight) + ": expected panels of an even width, steps of 1, 2, 4 or 8 columns and whole " +
                           "groups for quantized elements");
  }
  return matrix;
}

Status Planner::addWeight(WeightOp weight) {
  if (!weight.getOffset() || !weight.getStride())
    return internalError(quoted(weight) + ": expected an offset with its layout");
  Result<Extents> extents = extentsOf(weight);
  if (!extents)
    return extents.takeError();
  Result<Matrix> shape = geometry(weight, *extents);
  if (!shape)
    return shape.takeError();
  uint64_t matrixBytes = shape->bytes(), instanceBytes = matrixBytes * extents->experts;
  uint64_t offset = *weight.getOffset(), stride = *weight.getStride(), instances = weight.getInstances();
  if (instances > 1 && stride < instanceBytes)
    return internalError(quoted(weight) + ": expected a stride of at least " + std::to_string(instanceBytes) +
                         ", found " + std::to_string(stride));
  for (uint64_t instance = 0; instance < instances; instance++)
    for (int64_t expert = 0; expert < extents->experts; expert++) {
      Matrix matrix = *shape;
      matrix.offset = offset + instance * stride + expert * matrixBytes;
      if (source)
        if (Status status = addSegments(weight, instance, expert, matrix.segments, 0); !status)
          return status;
      plan.bytes += matrixBytes;
      plan.extent = std::max(plan.extent, matrix.offset + matrixBytes);
      plan.matrices.push_back(std::move(matrix));
    }
  return ok();
}

/// The rows of one matrix of `weight`, part after part.
Status Planner::addSegments(WeightOp weight, int64_t instance, int64_t expert, std::vector<Segment> &segments,
                            int depth) {
  if (weight.getSource())
    return addSource(weight, instance, expert, segments);
  if (depth > 8)
    return internalError(quoted(weight) + ": parts are nested too deep");
  Result<Extents> whole = extentsOf(weight);
  if (!whole)
    return whole.takeError();
  int64_t rows = 0;
  for (auto reference : weight.getParts()->getAsRange<FlatSymbolRefAttr>()) {
    auto part = symbols.lookup<WeightOp>(reference.getAttr());
    if (!part)
      return internalError(quoted(weight) + ": part '@" + reference.getValue().str() + "' does not exist");
    Result<Extents> extents = extentsOf(part);
    if (!extents)
      return extents.takeError();
    if (extents->columns != whole->columns || extents->experts != whole->experts ||
        part.getInstances() != weight.getInstances())
      return internalError(quoted(weight) + ": part '@" + reference.getValue().str() + "' does not fit");
    rows += extents->rows;
    if (Status status = addSegments(part, instance, expert, segments, depth + 1); !status)
      return status;
  }
  if (rows != whole->rows)
    return internalError(quoted(weight) + ": expected parts of " + std::to_string(whole->rows) +
                         " rows, found " + std::to_string(rows));
  return ok();
}

/// Whether the weight's type is the format that the checkpoint holds the matrix in.
bool keepsCodes(WeightOp weight, const hf::QuantizedMatrix &matrix) {
  auto type = dyn_cast<qwen::QuantType>(cast<RankedTensorType>(weight.getType()).getElementType());
  std::string reason;
  return type && matrix.format() && hf::formatOf(*matrix.format(), reason) == quantization::formatOf(type);
}

Status Planner::addSource(WeightOp weight, int64_t instance, int64_t expert, std::vector<Segment> &segments) {
  Extents extents = *extentsOf(weight);
  bool perExpert = qwen::hasTensorPerExpert(weight);
  std::string name = qwen::tensorName(weight, instance, expert);
  Result<std::shared_ptr<const hf::QuantizedMatrix>> quantized = source->findQuantized(name);
  if (!quantized)
    return quantized.takeError();
  if (*quantized) {
    int64_t found[] = {(*quantized)->rows(), (*quantized)->columns()};
    if (found[0] != extents.rows || found[1] != extents.columns || extents.stacked != perExpert)
      return userError("tensor '" + name + "': expected shape " +
                       hf::formatShape(std::array{extents.rows, extents.columns}) + ", found " +
                       hf::formatShape(found));
    segments.push_back({nullptr, hf::DType::F32, extents.rows, plan.tensors.size(), *quantized, keepsCodes(weight, **quantized)});
    plan.tensors.push_back((*quantized)->weight());
    return ok();
  }
  Result<hf::TensorView> view = source->find(name);
  if (!view)
    return view.takeError();
  ArrayRef<int64_t> shape = cast<RankedTensorType>(weight.getType()).getShape();
  if (extents.stacked && perExpert)
    shape = shape.drop_front();
  if (ArrayRef<int64_t>(view->shape) != shape)
    return userError("tensor '" + name + "': expected shape " +
                     hf::formatShape({shape.data(), shape.size()}) + ", found " +
                     hf::formatShape(view->shape));
  if (!hf::isPlainFloat(view->dtype))
    return userError("tensor '" + name + "': expected F32, F16 or BF16, found " +
                     std::string(hf::name(view->dtype)));
  int64_t matrixBytes = extents.rows * extents.columns * (hf::bits(view->dtype) / 8);
  int64_t matrices = perExpert ? 1 : extents.experts;
  if (view->bytes != static_cast<uint64_t>(matrixBytes * matrices))
    return internalError("tensor '" + name + "': expected " + std::to_string(matrixBytes * matrices) +
                         " bytes, found " + std::to_string(view->bytes));
  const std::byte *data = view->data + (perExpert ? 0 : expert * matrixBytes);
  segments.push_back({data, view->dtype, extents.rows, plan.tensors.size()});
  plan.tensors.push_back(view.take());
  return ok();
}

Status Planner::checkOverlaps() {
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const Matrix &matrix : plan.matrices)
    ranges.push_back({matrix.offset, matrix.offset + matrix.bytes()});
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); i++)
    if (ranges[i].first < ranges[i - 1].second)
      return internalError("weights overlap at byte " + std::to_string(ranges[i].first) +
                           " of the weight section");
  return ok();
}

Result<PackPlan> resolve(ModuleOp planned, const TensorSource *source) {
  Planner planner(planned, source);
  for (WeightOp weight : planned.getOps<WeightOp>())
    if (weight.getLayout())
      if (Status status = planner.addWeight(weight); !status)
        return status.takeError();
  if (Status status = planner.checkOverlaps(); !status)
    return status.takeError();
  return planner.take();
}

} // namespace

Result<PackPlan> planPacking(ModuleOp planned, const TensorSource &source) {
  return resolve(planned, &source);
}

Result<uint64_t> sectionBytes(ModuleOp planned) {
  Result<PackPlan> plan = resolve(planned, nullptr);
  if (!plan)
    return plan.takeError();
  auto totals = planned->getAttrOfType<qwen::PlanAttr>("qwen.plan");
  if (!totals)
    return plan->extent;
  uint64_t bytes = totals.getWeightBytes();
  if (bytes < plan->extent)
    return internalError("expected a weight section of at least " + std::to_string(plan->extent) + " bytes, found " +
                         std::to_string(bytes));
  return bytes;
}

} // namespace qwench::pack
