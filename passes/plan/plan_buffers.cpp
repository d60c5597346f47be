// plan-buffers
// Assumes: fused stage with planned weights; @forward(batch, cache) and layer functions (x, rope, batch, cache, layer,
// instance). Guarantees: entry points @prefill and @decode over buffers of one arena, and @sample where the target draws
// tokens; every op has a tile size.
//   %y = qwen.rms_norm(%x, %w) : ... -> tensor<?x64xf32>
//     =>  %b = qwen.buffer [%rows] at 4096 : memref<?x64xbf16, strided<[64, 1]>>
//         qwen.rms_norm(%a, %w) outs(%b) {tile = array<i64: 1>} : ...
#include "passes/Passes.h"
#include "passes/plan/plan.h"
#include "passes/plan/storage.h"
#include "passes/plan/totals.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/xxhash.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::qwen;

namespace {

/// (batch, cache) -> logits.
bool isForward(func::FuncOp function) {
  TypeRange types = function.getArgumentTypes();
  return !function.isDeclaration() && types.size() == 2 && isa<BatchType>(types[0]) && isa<CacheType>(types[1]) &&
         function.getNumResults() == 1;
}

/// (x, rope, batch, cache, layer, instance) -> x.
bool isLayer(func::FuncOp function) {
  TypeRange types = function.getArgumentTypes();
  return !function.isDeclaration() && types.size() == 6 && llvm::all_of(types.take_front(2), llvm::IsaPred<RankedTensorType>) &&
         isa<BatchType>(types[2]) && isa<CacheType>(types[3]) && types[4].isIndex() && types[5].isIndex() &&
         function.getNumResults() == 1;
}

/// The step's logits; `rows` is null where they are not counted.
Value logitsBuffer(OpBuilder &builder, Location loc, RankedTensorType type, const TargetProperties &properties, Value rows) {
  auto layout = StridedLayoutAttr::get(builder.getContext(), 0, {properties.rowStride(type.getDimSize(1), 4), 1});
  auto memref = MemRefType::get(type.getShape(), type.getElementType(), layout);
  return BufferOp::create(builder, loc, memref, rows, /*offset=*/0, /*logits=*/true);
}

/// The entry @sample(batch), which draws a token for each row of the step from logits of this type.
void emitSample(ModuleOp module, RankedTensorType logits, const TargetProperties &properties) {
  OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
  Location loc = module.getLoc();
  auto function = func::FuncOp::create(b, loc, "sample", b.getFunctionType({BatchType::get(b.getContext())}, {}));
  Block *body = function.addEntryBlock();
  b.setInsertionPointToStart(body);
  Value batch = body->getArgument(0), draws = BatchSizeOp::create(b, loc, b.getIndexType(), batch, /*outputs=*/false);
  Value from = logitsBuffer(b, loc, logits, properties, {});
  auto tokens = MemRefType::get({ShapedType::kDynamic}, b.getI32Type(), StridedLayoutAttr::get(b.getContext(), 0, {1}));
  Value drawn = BufferOp::create(b, loc, tokens, draws, /*offset=*/0, /*logits=*/false, /*drawn=*/true);
  auto op = SampleOp::create(b, loc, TypeRange(), from, batch, drawn, DenseI64ArrayAttr());
  op.setTile(properties.tile(op, properties.decodeRows));
  func::ReturnOp::create(b, loc);
}

/// Rewrites the functions of one entry point.
class EntryPlanner {
public:
  EntryPlanner(ModuleOp module, const TargetProperties &properties, StringRef entry, int64_t rowBound)
      : module(module), properties(properties), entry(entry), rowBound(rowBound), builder(module.getContext()) {}

  /// Emits @entry and the layer functions that @forward, in whatever module it stands, calls at the end of the module.
  /// Returns the arena's size.
  FailureOr<int64_t> run(func::FuncOp forward);

private:
  func::FuncOp emit(func::FuncOp source, FunctionStorage &storage, ArrayRef<unsigned> keptArguments, StringRef name);
  LogicalResult emitOp(Operation *op, FunctionStorage &storage, IRMapping &map, Value logits);
  Value buffer(Location loc, Value value, FunctionStorage &storage);
  Value rowsOf(Location loc, RowCount rows);

  ModuleOp module;
  const TargetProperties &properties;
  StringRef entry;
  int64_t rowBound;
  OpBuilder builder;
  Value batch; // of the function being emitted
};

Value EntryPlanner::rowsOf(Location loc, RowCount rows) {
  if (rows.base == RowCount::Fixed)
    return {};
  Value count = BatchSizeOp::create(builder, loc, builder.getIndexType(), batch, rows.base == RowCount::Outputs);
  if (rows.factor == 1)
    return count;
  Value factor = arith::ConstantIndexOp::create(builder, loc, rows.factor);
  return arith::MulIOp::create(builder, loc, count, factor);
}

Value EntryPlanner::buffer(Location loc, Value value, FunctionStorage &storage) {
  const View *view = storage.lookup(value);
  if (!view)
    return {};
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> strides(type.getRank(), 1);
  for (int64_t d = type.getRank() - 2; d > 0; --d)
    strides[d] = strides[d + 1] * type.getDimSize(d + 1);
  if (type.getRank() > 1)
    strides[0] = view->rowStride;
  auto layout = StridedLayoutAttr::get(builder.getContext(), 0, strides);
  auto memref = MemRefType::get(type.getShape(), view->element, layout);
  int64_t offset = storage.storage(view->storage).offset + view->firstElement * elementBytes(view->element);
  return BufferOp::create(builder, loc, memref, rowsOf(loc, view->rows), offset);
}

LogicalResult EntryPlanner::emitOp(Operation *op, FunctionStorage &storage, IRMapping &map, Value logits) {
  if (isa<SplitHeadsOp, MergeHeadsOp, tensor::ExtractSliceOp, func::ReturnOp>(op))
    return success();
  SmallVector<Value> operands, dests;
  for (Value operand : op->getOperands()) {
    Value mapped = buffer(op->getLoc(), operand, storage);
    operands.push_back(mapped ? mapped : map.lookupOrDefault(operand));
  }
  if (isa<ParamOp, BatchSizeOp, arith::ConstantOp>(op)) {
    builder.clone(*op, map);
    return success();
  }
  bool layers = isa<LayersOp>(op);
  if (!layers)
    for (Value result : op->getResults())
      dests.push_back(result == logits ? logitsBuffer(builder, op->getLoc(), cast<RankedTensorType>(result.getType()), properties,
                                                      rowsOf(op->getLoc(), {RowCount::Outputs, 1}))
                                       : buffer(op->getLoc(), result, storage));
  operands.append(dests);
  NamedAttrList attributes(op->getAttrDictionary());
  if (auto segments = dyn_cast_or_null<DenseI32ArrayAttr>(attributes.get("operandSegmentSizes"))) {
    SmallVector<int32_t> sizes(segments.asArrayRef());
    sizes.back() = dests.size();
    attributes.set("operandSegmentSizes", builder.getDenseI32ArrayAttr(sizes));
  }
  if (layers) {
    SmallVector<Attribute> callees;
    for (auto callee : cast<LayersOp>(op).getCallees().getAsRange<FlatSymbolRefAttr>())
      callees.push_back(FlatSymbolRefAttr::get(builder.getContext(), (callee.getValue() + "." + entry).str()));
    attributes.set("callees", builder.getArrayAttr(callees));
  } else {
    attributes.set("tile", builder.getDenseI64ArrayAttr(properties.tile(op, rowBound)));
  }
  OperationState state(op->getLoc(), op->getName(), operands, {}, attributes.getAttrs());
  builder.create(state);
  return success();
}

func::FuncOp EntryPlanner::emit(func::FuncOp source, FunctionStorage &storage, ArrayRef<unsigned> kept, StringRef name) {
  SmallVector<Type> types;
  for (unsigned i : kept)
    types.push_back(source.getArgumentTypes()[i]);
  builder.setInsertionPointToEnd(module.getBody());
  auto function = func::FuncOp::create(builder, source.getLoc(), name, builder.getFunctionType(types, {}));
  Block *body = function.addEntryBlock();
  builder.setInsertionPointToStart(body);
  IRMapping map;
  for (auto [i, from] : llvm::enumerate(kept))
    map.map(source.getArgument(from), body->getArgument(i));
  for (Value argument : body->getArguments())
    if (isa<BatchType>(argument.getType()))
      batch = argument;
  auto result = cast<func::ReturnOp>(source.getBody().front().getTerminator()).getOperand(0);
  Value logits = storage.lookup(source.getArgument(0)) ? Value() : result;
  for (Operation &op : source.getBody().front())
    if (failed(emitOp(&op, storage, map, logits)))
      return {};
  func::ReturnOp::create(builder, source.getLoc());
  return function;
}

FailureOr<int64_t> EntryPlanner::run(func::FuncOp forward) {
  if (!isForward(forward))
    return forward.emitOpError("expected (batch, cache) -> logits and a body");
  FunctionStorage top(properties, rowBound);
  if (failed(top.analyze(forward)))
    return failure();
  LayersOp layers;
  forward.walk([&](LayersOp op) { layers = op; });
  if (!layers)
    return forward.emitOpError("expected a qwen.layers");
  auto [base, end] = top.assign(0, top.indexOf(layers));

  SymbolTable symbols(forward->getParentOfType<ModuleOp>());
  llvm::SetVector<StringRef> callees;
  for (auto callee : layers.getCallees().getAsRange<FlatSymbolRefAttr>())
    callees.insert(callee.getValue());
  for (StringRef callee : callees) {
    auto layer = symbols.lookup<func::FuncOp>(callee);
    if (!isLayer(layer))
      return layer.emitOpError("expected (x, rope, batch, cache, layer, instance) -> x and a body");
    FunctionStorage local(properties, rowBound);
    for (unsigned i : {0u, 1u}) {
      const View *view = top.lookup(layers->getOperand(i));
      if (!view)
        return layers.emitOpError("expected hidden states and a rope table that are computed");
      const Storage &pinned = top.storage(view->storage);
      local.pin(layer.getArgument(i), *view, pinned.offset, pinned.bytes);
    }
    if (failed(local.analyze(layer)))
      return failure();
    Value result = cast<func::ReturnOp>(layer.getBody().front().getTerminator()).getOperand(0);
    const View *last = local.lookup(result);
    if (!last || last->storage != local.lookup(layer.getArgument(0))->storage)
      return layer.emitOpError("expected the result to be the residual stream, updated in place");
    end = std::max(end, local.assign(base).second);
    if (!emit(layer, local, {2, 3, 4, 5}, (callee + "." + entry).str()))
      return failure();
  }
  if (!emit(forward, top, {0, 1}, entry))
    return failure();
  return end;
}

struct PlanBuffers : PassWrapper<PlanBuffers, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PlanBuffers)

  PlanBuffers(const TargetProperties &properties, const ProgramOptions &program)
      : properties(properties), program(program) {}
  StringRef getArgument() const final { return "plan-buffers"; }
  StringRef getDescription() const final { return "gives activations a place in one arena and ops a tile size"; }
  void getDependentDialects(DialectRegistry &registry) const override { registry.insert<QwenDialect>(); }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto forward = module.lookupSymbol<func::FuncOp>("forward");
    if (!forward) {
      module.emitError("expected a function @forward");
      return signalPassFailure();
    }
    SmallVector<func::FuncOp> sources(module.getOps<func::FuncOp>());
    auto plan = [&](StringRef entry, int64_t rowBound) { // each entry has its own form of the ops
      OwningOpRef<ModuleOp> source = module.clone();
      splitNorm(*source, properties, rowBound);
      splitRouter(*source, properties);
      spreadNorm(*source, properties, rowBound);
      quantizeActivations(*source, properties, rowBound);
      splitAttention(*source, properties, rowBound, program.maxContext);
      splitCombine(*source, properties, rowBound);
      joinDispatch(*source, properties, rowBound);
      return EntryPlanner(module, properties, entry, rowBound).run(source->lookupSymbol<func::FuncOp>("forward"));
    };
    FailureOr<int64_t> prefill = plan("prefill", properties.prefillRows);
    FailureOr<int64_t> decode = plan("decode", properties.decodeRows);
    if (failed(prefill) || failed(decode))
      return signalPassFailure();
    if (properties.drawsTokens)
      emitSample(module, cast<RankedTensorType>(forward.getResultTypes()[0]), properties);
    setTotals(module, forward, properties, program, std::max(*prefill, *decode));
    for (func::FuncOp source : sources)
      source.erase();
    std::string text;
    llvm::raw_string_ostream(text) << module;
    module->setAttr("qwen.plan_hash",
                    IntegerAttr::get(IntegerType::get(&getContext(), 64), APInt(64, llvm::xxh3_64bits(text))));
  }

  TargetProperties properties;
  ProgramOptions program;
};

} // namespace

std::unique_ptr<Pass> qwench::createPlanBuffersPass(const TargetProperties &properties, const ProgramOptions &program) {
  return std::make_unique<PlanBuffers>(properties, program);
}

void qwench::buildPlanPipeline(OpPassManager &passes, const TargetProperties &properties, const ProgramOptions &program) {
  passes.addPass(createSplitNormPass(properties));
  passes.addPass(createQuantizeActivationsPass(properties));
  passes.addPass(createPlanWeightsPass(properties));
  passes.addPass(createPlanBuffersPass(properties, program));
  passes.addPass(createCSEPass()); // a buffer is named once in a function
  passes.addPass(createCheckPlanned());
}
