#include "benchmarks/kernels/planned_op.h"

#include "compiler/driver/metadata.h"
#include "compiler/driver/model_source.h"
#include "compiler/driver/pipeline.h"
#include "dialects/Qwen.h"
#include "frontends/huggingface/import/import.h"
#include "passes/plan/storage.h"
#include "passes/plan/totals.h"

#include "mlir/Interfaces/SideEffectInterfaces.h"

#include <algorithm>

using namespace mlir;

namespace qwench::kernels {

namespace {

/// Tile programs are all that computes in the planned stage, and the loop over the layers is all that calls.
bool computes(Operation *op) { return op->getAttr("tile") || isa<qwen::LayersOp>(op); }

bool inEntry(Operation *op, StringRef entry) {
  StringRef name = op->getParentOfType<func::FuncOp>().getSymName();
  return name == entry || name.ends_with(("." + entry).str());
}

bool reads(Operation *op, StringRef weight) {
  return weight.empty() || llvm::any_of(op->getOperands(), [&](Value operand) {
    auto param = operand.getDefiningOp<qwen::ParamOp>();
    return param && param.getWeight().ends_with(weight);
  });
}

/// The chosen ops; an error if the program has none of one of them.
Result<std::vector<Operation *>> find(ModuleOp module, const OpChoice &choice) {
  std::vector<Operation *> found;
  for (const std::string &name : choice.ops) {
    module.walk([&](Operation *op) {
      if (op->getName().stripDialect() != name || !computes(op) || !inEntry(op, choice.decode ? "decode" : "prefill") ||
          !reads(op, found.empty() ? choice.weight : ""))
        return WalkResult::advance();
      found.push_back(op);
      return WalkResult::interrupt();
    });
    if (found.empty() || found.back()->getName().stripDialect() != name)
      return userError("expected qwen." + name + " in the planned program of this CPU, found none");
  }
  return found;
}

/// Takes away what computes besides `kept`, and what only that read. The other entry, which must launch something, keeps its
/// rope table.
void isolate(ModuleOp module, ArrayRef<Operation *> kept, StringRef otherEntry) {
  bool inLayers = kept.front()->getParentOfType<func::FuncOp>().getNumArguments() > 2; // (batch, cache) are the entry's
  SmallVector<Operation *> doomed;
  module.walk([&](Operation *op) {
    if (computes(op) && !llvm::is_contained(kept, op) && !(inLayers && isa<qwen::LayersOp>(op)) &&
        !(isa<qwen::RopeTableOp>(op) && inEntry(op, otherEntry)))
      doomed.push_back(op);
  });
  for (Operation *op : doomed)
    op->erase();
  for (auto function : module.getOps<func::FuncOp>())
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(function.getBody().front())))
      if (isOpTriviallyDead(&op))
        op.erase();
}

/// Bytes of a row of a buffer, without those between rows.
int64_t rowBytesOf(MemRefType type) {
  if (auto quant = dyn_cast<qwen::QuantType>(type.getElementType()))
    return quant.rowBytes(type.getDimSize(1));
  int64_t elements = 1;
  for (int64_t size : type.getShape().drop_front())
    elements *= size;
  return elements * type.getElementTypeBitWidth() / 8;
}

Place placeOf(Value operand) {
  auto buffer = operand.getDefiningOp<qwen::BufferOp>();
  if (!buffer)
    return {-1, 0};
  auto type = cast<MemRefType>(buffer.getType());
  int64_t offset;
  SmallVector<int64_t> strides;
  if (failed(type.getStridesAndOffset(strides, offset)))
    return {-1, 0};
  return {static_cast<int64_t>(buffer.getOffset()), strides[0] * elementBytes(type.getElementType())};
}

/// Products with quantized weights are set beside those of bytes, others beside those of what the rows come in.
const char *unitOf(Type matrix, Operation *op) {
  if (isa_and_nonnull<qwen::QuantType>(matrix))
    return "int8";
  return cast<MemRefType>(op->getOperand(0).getType()).getElementType().isBF16() ? "bf16" : "f32";
}

/// Counts what the ops read and compute.
void count(Operation *op, PlannedOp &planned) {
  auto function = op->getParentOfType<func::FuncOp>();
  Work work = workOf(function);
  planned.weightBytes = work.bytes;
  planned.flops = work.flops;
  planned.attentionFlops = work.attentionFlops;
  SymbolTable symbols(*planned.module);
  function.walk([&](qwen::ParamOp param) {
    auto weight = symbols.lookup<qwen::WeightOp>(param.getWeight());
    auto type = cast<RankedTensorType>(weight.getType());
    planned.heldBytes += weight.getLayout()->bytes(type);
    if (type.getRank() == 3)
      planned.experts = type.getDimSize(0);
    if (isa<qwen::EmbeddingOp>(op))
      planned.rowBytes += bytesOf(type) / type.getDimSize(0);
  });
  if (planned.experts) {
    auto grouped = dyn_cast<qwen::GroupedLinearOp>(op);
    planned.topK = grouped ? grouped.getTopK()
                           : cast<MemRefType>(cast<qwen::GroupedLinearCombineOp>(op).getWeights().getType()).getDimSize(1);
  }
  for (Value operand : op->getOperands()) {
    planned.operands.push_back(placeOf(operand));
    if (auto type = dyn_cast<MemRefType>(operand.getType()); type && type.getRank() > 1)
      planned.rowBytes += rowBytesOf(type);
    if (auto cache = dyn_cast<qwen::CacheType>(operand.getType()))
      planned.cacheBytes = 2 * cache.getHeads() * cache.vectorBytes();
  }
  if (work.flops || work.attentionFlops)
    planned.unit = unitOf(work.matrix, op);
}

/// Random contents for the weights that are read.
Result<RandomWeights> randomWeights(const ModelSource &source, ModuleOp planned) {
  MetadataOptions options{};
  options.target = "x86-64";
  options.randomSeed = 1;
  Result<std::string> json = makeMetadata(source, {}, planned, options);
  if (!json)
    return json.takeError();
  auto plan = planned->getAttrOfType<qwen::PlanAttr>("qwen.plan");
  Result<Metadata> metadata = parseMetadata(*json, plan.getWeightBytes());
  if (!metadata)
    return metadata.takeError();
  RandomWeights weights = std::move(*metadata->randomWeights);
  std::erase_if(weights.tensors, [&](const RandomTensor &tensor) {
    return planned
        .walk([&](qwen::ParamOp param) {
          return StringRef(tensor.name).starts_with((param.getWeight() + "[").str()) ? WalkResult::interrupt()
                                                                                    : WalkResult::advance();
        })
        .wasInterrupted() == false;
  });
  return weights;
}

Result<OwningOpRef<ModuleOp>> plan(MLIRContext &context, const Target &target, const ModelSource &source,
                                   const OpChoice &choice) {
  ImportOptions import;
  import.name = source.name;
  std::optional<ElementType> dtype = parseElementType(choice.dtype);
  import.dtype = dtype.value_or(ElementType::BF16);
  std::optional<CacheFormat> kvDtype =
      parseCacheFormat(!choice.kvDtype.empty() ? choice.kvDtype : dtype ? choice.dtype : "bf16");
  if (!kvDtype)
    return userError("expected one of " + cacheFormatNames() + ", found '" + choice.kvDtype + "'");
  import.kvDtype = *kvDtype;
  import.maxContext = source.config->maxPositionEmbeddings;
  Result<OwningOpRef<ModuleOp>> module = importModel(context, *source.config, import);
  if (!module)
    return module.takeError();
  PipelineOptions pipeline;
  pipeline.target = &target;
  pipeline.program = {source.name, import.maxContext};
  if (!dtype)
    pipeline.formats.dtype = choice.dtype;
  if (Status planned = advance(**module, Stage::Model, Stage::Planned, pipeline); !planned)
    return planned.takeError();
  return module;
}

} // namespace

Result<PlannedOp> planOp(MLIRContext &context, const Target &target, const OpChoice &choice) {
  Result<ModelSource> source = openModel(choice.config, /*weights=*/false);
  if (!source)
    return source.takeError();
  if (choice.layers)
    source->config->layers.resize(choice.layers, source->config->layers.front());
  Result<OwningOpRef<ModuleOp>> module = plan(context, target, *source, choice);
  if (!module)
    return module.takeError();
  PlannedOp planned;
  planned.module = module.take();
  Result<std::vector<Operation *>> kept = find(*planned.module, choice);
  if (!kept)
    return kept.takeError();
  isolate(*planned.module, *kept, choice.decode ? "prefill" : "decode");
  count(kept->front(), planned);
  bool once = true;
  planned.module->walk([&](qwen::LayersOp) { once = false; });
  planned.calls = once ? 1 : source->config->layerCount();
  Result<RandomWeights> weights = randomWeights(*source, *planned.module);
  if (!weights)
    return weights.takeError();
  planned.weights = weights.take();
  return planned;
}

} // namespace qwench::kernels
