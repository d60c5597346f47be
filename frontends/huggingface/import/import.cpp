#include "frontends/huggingface/import/import.h"

#include "dialects/Qwen.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Verifier.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>
#include <map>

using namespace mlir;
using namespace qwench;
using namespace qwench::qwen;

std::string_view qwench::name(ElementType type) { return type == ElementType::BF16 ? "bf16" : "f32"; }

std::optional<ElementType> qwench::parseElementType(std::string_view name) {
  if (name == "bf16")
    return ElementType::BF16;
  if (name == "f32")
    return ElementType::F32;
  return std::nullopt;
}

static constexpr std::pair<std::string_view, CacheFormat> kCacheFormats[] = {{"bf16", CacheFormat::BF16},
                                                                            {"f32", CacheFormat::F32},
                                                                            {"fp8", CacheFormat::FP8},
                                                                            {"int8", CacheFormat::Int8},
                                                                            {"int4", CacheFormat::Int4}};

std::string_view qwench::name(CacheFormat format) {
  return llvm::find_if(kCacheFormats, [&](const auto &known) { return known.second == format; })->first;
}

std::optional<CacheFormat> qwench::parseCacheFormat(std::string_view name) {
  for (auto [known, format] : kCacheFormats)
    if (name == known)
      return format;
  return std::nullopt;
}

std::string qwench::cacheFormatNames() {
  std::string names;
  for (auto [name, format] : kCacheFormats)
    names += (names.empty() ? "" : ", ") + std::string(name);
  return names;
}

/// The element of a cache of heads of `dim`: 4 bits have a scale and a zero point for each 32 columns (16 where 32 do not
/// divide a head), 8 bits a scale for each head's vector.
static Type cacheElement(MLIRContext *context, CacheFormat format, int64_t dim) {
  Builder b(context);
  auto rows = [&](Type storage) { return QuantType::get(context, storage, 0, b.getF32Type(), 1, false, false, 0); };
  switch (format) {
  case CacheFormat::BF16:
    return b.getBF16Type();
  case CacheFormat::F32:
    return b.getF32Type();
  case CacheFormat::FP8:
    return rows(Float8E4M3FNType::get(context));
  case CacheFormat::Int8:
    return rows(b.getI8Type());
  case CacheFormat::Int4:
    return QuantType::get(context, b.getIntegerType(4), dim % 32 ? 16 : 32, b.getF16Type(), 1, true, false, 0);
  }
  return {};
}

namespace {

constexpr const char *kAttentionProjections[] = {"q_proj", "k_proj", "v_proj", "o_proj"};
constexpr const char *kMlpProjections[] = {"gate_proj", "up_proj", "down_proj"};

/// The checkpoint tensor of a projection: "model.layers.{layer}.mlp.experts.{expert}.up_proj.weight".
std::string sourceOf(StringRef projection, bool sparse) {
  bool attention = llvm::is_contained(kAttentionProjections, projection);
  StringRef module = attention ? "self_attn." : sparse ? "mlp.experts.{expert}." : "mlp.";
  return ("model.layers.{layer}." + module + projection + ".weight").str();
}

/// Layers that share a function, in the order of their first one.
struct LayerKind {
  std::string name;
  hf::LayerConfig config;
  std::map<std::string, Type> elements; ///< of projections that keep the checkpoint's codes
  SmallVector<int64_t> layers;
};

std::map<std::string, Type> elementsOf(const hf::ModelConfig &config, int64_t layer, StoredTypes &stored) {
  std::map<std::string, Type> elements;
  bool sparse = config.layers[layer].sparse;
  for (const char *projection :
       llvm::concat<const char *const>(ArrayRef(kAttentionProjections), ArrayRef(kMlpProjections))) {
    std::string tensor = sourceOf(projection, sparse);
    tensor.replace(tensor.find("{layer}"), StringRef("{layer}").size(), std::to_string(layer));
    if (Type element = stored.typeOf(tensor, config.experts))
      elements[projection] = element;
  }
  return elements;
}

std::vector<LayerKind> layerKinds(const hf::ModelConfig &config, StoredTypes &stored) {
  std::vector<LayerKind> kinds;
  for (auto [index, layer] : llvm::enumerate(config.layers)) {
    std::map<std::string, Type> elements = elementsOf(config, index, stored);
    auto kind = llvm::find_if(kinds, [&, &layer = layer](const LayerKind &k) {
      return k.config == layer && k.elements == elements;
    });
    if (kind == kinds.end()) {
      std::string name = layer.sparse ? "moe" : "dense";
      if (layer.window)
        name += "_window";
      int64_t alike = llvm::count_if(kinds, [&, &layer = layer](const LayerKind &k) { return k.config == layer; });
      if (alike)
        name += "_" + std::to_string(alike + 1);
      kinds.push_back({name, layer, elements, {}});
      kind = std::prev(kinds.end());
    }
    kind->layers.push_back(index);
  }
  return kinds;
}

class Importer {
public:
  Importer(MLIRContext &context, const hf::ModelConfig &config, const ImportOptions &options)
      : config(config), options(options), builder(&context), loc(builder.getUnknownLoc()) {}

  OwningOpRef<ModuleOp> run();

private:
  Type floatType(ElementType type) {
    return type == ElementType::BF16 ? Type(builder.getBF16Type()) : Type(builder.getF32Type());
  }
  /// A matrix or a stack of them, of floats unless `element` says otherwise.
  RankedTensorType matrix(ArrayRef<int64_t> shape, Type element = {}) {
    return RankedTensorType::get(shape, element ? element : floatType(options.dtype));
  }
  RankedTensorType vector(int64_t extent) { return RankedTensorType::get(extent, builder.getF32Type()); }
  /// Activations: a dynamic number of rows before `shape`.
  RankedTensorType rows(ArrayRef<int64_t> shape, Type element = {}) {
    SmallVector<int64_t> full{ShapedType::kDynamic};
    full.append(shape.begin(), shape.end());
    return RankedTensorType::get(full, element ? element : Type(builder.getF32Type()));
  }
  FloatAttr eps() { return builder.getF32FloatAttr(static_cast<float>(config.rmsEps)); }

  void describeModel(ModuleOp module);
  void addWeight(const Twine &name, RankedTensorType type, ArrayRef<int64_t> layers, const Twine &source);
  void addModelWeights(StoredTypes &stored);
  void addLayerWeights(const LayerKind &kind);
  void addRotary();
  void addLayer(const LayerKind &kind);
  void addForward(ArrayRef<LayerKind> kinds);

  Value param(const Twine &weight, Value instance);
  Value rmsNorm(Value x, Value weight);
  Value linear(Value x, const Twine &weight, Value instance, bool mayHaveBias = false);
  Value splitHeads(Value x);
  Value add(Value x, Value y);
  Value attention(const LayerKind &kind, Value x, Block &entry);
  Value mlp(const LayerKind &kind, Value x, Value instance);
  Value experts(const LayerKind &kind, Value x, Value instance);

  const hf::ModelConfig &config;
  const ImportOptions &options;
  OpBuilder builder;
  Location loc;
  CacheType cacheType;
  std::map<std::string, RankedTensorType> weights;
};

OwningOpRef<ModuleOp> Importer::run() {
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  builder.setInsertionPointToEnd(module->getBody());
  cacheType = CacheType::get(builder.getContext(), config.layerCount(), config.kvHeads, config.headDim,
                             cacheElement(builder.getContext(), options.kvDtype, config.headDim));
  describeModel(*module);
  StoredTypes stored(builder.getContext(), options.stored, options.products);
  std::vector<LayerKind> kinds = layerKinds(config, stored);
  addModelWeights(stored);
  if (options.warnings)
    llvm::append_range(*options.warnings, stored.warnings(std::string(name(options.dtype))));
  for (const LayerKind &kind : kinds)
    addLayerWeights(kind);
  addRotary();
  for (const LayerKind &kind : kinds)
    addLayer(kind);
  addForward(kinds);
  return module;
}

void Importer::describeModel(ModuleOp module) {
  auto string = [&](std::string_view text) -> Attribute { return builder.getStringAttr(StringRef(text)); };
  auto named = [&](StringRef key, Attribute value) { return builder.getNamedAttr(key, value); };
  module->setAttr("qwen.model", builder.getDictionaryAttr({
                                    named("name", string(options.name)),
                                    named("architecture", string(hf::name(config.architecture))),
                                    named("dtype", string(name(options.dtype))),
                                    named("kv_dtype", string(name(options.kvDtype))),
                                    named("max_context", builder.getI64IntegerAttr(options.maxContext)),
                                }));
}

//===-- Weights ---------------------------------------------------------------------------------------------------===//

void Importer::addWeight(const Twine &name, RankedTensorType type, ArrayRef<int64_t> layers,
                         const Twine &source) {
  int64_t instances = std::max<int64_t>(layers.size(), 1);
  weights.emplace(name.str(), type);
  WeightOp::create(builder, loc, builder.getStringAttr(name), TypeAttr::get(type),
                   builder.getI64IntegerAttr(instances), builder.getDenseI64ArrayAttr(layers),
                   builder.getStringAttr(source), ArrayAttr(), LayoutAttr(), IntegerAttr(), IntegerAttr());
}

void Importer::addModelWeights(StoredTypes &stored) {
  addWeight("embed_tokens", matrix({config.vocab, config.hidden}), {}, "model.embed_tokens.weight");
  addWeight("norm", vector(config.hidden), {}, "model.norm.weight");
  if (!config.tieEmbeddings)
    addWeight("lm_head", matrix({config.vocab, config.hidden}, stored.typeOf("lm_head.weight", 0)), {}, "lm_head.weight");
}

void Importer::addLayerWeights(const LayerKind &kind) {
  auto add = [&](const Twine &name, RankedTensorType type, const Twine &source) {
    addWeight(kind.name + "." + name, type, kind.layers, "model.layers.{layer}." + source);
  };
  auto projection = [&](const std::string &name, ArrayRef<int64_t> shape) {
    auto element = kind.elements.find(name);
    addWeight(kind.name + "." + name, matrix(shape, element == kind.elements.end() ? Type() : element->second), kind.layers,
              sourceOf(name, kind.config.sparse));
  };
  auto attention = [&](const std::string &name, int64_t outputs, int64_t inputs) {
    projection(name, {outputs, inputs});
    if (config.attentionBias)
      add(name + "_bias", vector(outputs), "self_attn." + name + ".bias");
  };
  int64_t hidden = config.hidden, queries = config.heads * config.headDim,
          keys = config.kvHeads * config.headDim;
  add("input_layernorm", vector(hidden), "input_layernorm.weight");
  attention("q_proj", queries, hidden);
  attention("k_proj", keys, hidden);
  attention("v_proj", keys, hidden);
  attention("o_proj", hidden, queries);
  add("q_norm", vector(config.headDim), "self_attn.q_norm.weight");
  add("k_norm", vector(config.headDim), "self_attn.k_norm.weight");
  add("post_attention_layernorm", vector(hidden), "post_attention_layernorm.weight");
  int64_t inner = kind.config.sparse ? config.moeIntermediate : config.intermediate;
  auto mlp = [&](const std::string &name, int64_t outputs, int64_t inputs) {
    if (kind.config.sparse)
      projection(name, {config.experts, outputs, inputs});
    else
      projection(name, {outputs, inputs});
  };
  if (kind.config.sparse)
    add("router", matrix({config.experts, hidden}), "mlp.gate.weight");
  mlp("gate_proj", inner, hidden);
  mlp("up_proj", inner, hidden);
  mlp("down_proj", hidden, inner);
}

void Importer::addRotary() {
  const hf::RopeConfig &rope = config.rope;
  bool dynamic = rope.type == hf::RopeType::Dynamic, longrope = rope.type == hf::RopeType::LongRope;
  auto frequencies = [&](int64_t length) {
    return builder.getDenseF32ArrayAttr(hf::inverseFrequencies(rope, config.headDim, length));
  };
  RotaryKind kind = dynamic ? RotaryKind::Dynamic : longrope ? RotaryKind::Longrope : RotaryKind::Fixed;
  RotaryOp::create(builder, loc, builder.getStringAttr("rope"),
                   RotaryKindAttr::get(builder.getContext(), kind), frequencies(0),
                   builder.getF32FloatAttr(static_cast<float>(hf::attentionScaling(rope))),
                   longrope ? frequencies(rope.originalMaxPosition + 1) : DenseF32ArrayAttr(),
                   dynamic || longrope ? builder.getI64IntegerAttr(rope.originalMaxPosition) : IntegerAttr(),
                   dynamic ? builder.getF64FloatAttr(rope.theta) : FloatAttr(),
                   dynamic ? builder.getF64FloatAttr(rope.factor) : FloatAttr());
}

//===-- Ops -------------------------------------------------------------------------------------------------------===//

Value Importer::param(const Twine &weight, Value instance) {
  std::string symbol = weight.str();
  return ParamOp::create(builder, loc, weights.at(symbol),
                         FlatSymbolRefAttr::get(builder.getContext(), symbol), instance);
}

Value Importer::rmsNorm(Value x, Value weight) {
  return RmsNormOp::create(builder, loc, TypeRange{x.getType()}, x, weight, eps(), ValueRange(),
                           DenseI64ArrayAttr())
      .getResult(0);
}

Value Importer::linear(Value x, const Twine &weight, Value instance, bool mayHaveBias) {
  std::string symbol = weight.str();
  Value matrix = param(symbol, instance);
  Value bias = mayHaveBias && config.attentionBias ? param(symbol + "_bias", instance) : Value();
  int64_t outputs = cast<RankedTensorType>(matrix.getType()).getDimSize(0);
  return LinearOp::create(builder, loc, TypeRange{rows({outputs})}, x, matrix, bias, ValueRange(),
                          DenseI64ArrayAttr())
      .getResult(0);
}

Value Importer::splitHeads(Value x) {
  int64_t columns = cast<RankedTensorType>(x.getType()).getDimSize(1);
  return SplitHeadsOp::create(builder, loc, rows({columns / config.headDim, config.headDim}), x);
}

Value Importer::add(Value x, Value y) {
  return AddOp::create(builder, loc, TypeRange{x.getType()}, x, y, ValueRange(), DenseI64ArrayAttr())
      .getResult(0);
}

/// Qwen3Attention: norms over each head of q and k before rope; v as it is.
Value Importer::attention(const LayerKind &kind, Value x, Block &entry) {
  Value rope = entry.getArgument(1), batch = entry.getArgument(2), cache = entry.getArgument(3);
  Value layer = entry.getArgument(4), instance = entry.getArgument(5);
  auto rotate = [&](Value heads) -> Value {
    return RopeOp::create(builder, loc, TypeRange{heads.getType()}, heads, rope, ValueRange(),
                          DenseI64ArrayAttr())
        .getResult(0);
  };
  Value q = splitHeads(linear(x, kind.name + ".q_proj", instance, true));
  Value k = splitHeads(linear(x, kind.name + ".k_proj", instance, true));
  Value v = splitHeads(linear(x, kind.name + ".v_proj", instance, true));
  q = rotate(rmsNorm(q, param(kind.name + ".q_norm", instance)));
  k = rotate(rmsNorm(k, param(kind.name + ".k_norm", instance)));
  CacheWriteOp::create(builder, loc, k, v, cache, layer, batch, DenseI64ArrayAttr());
  FloatAttr scale = builder.getF32FloatAttr(1.0f / std::sqrt(static_cast<float>(config.headDim)));
  IntegerAttr window = kind.config.window ? builder.getI64IntegerAttr(*kind.config.window) : IntegerAttr();
  Value heads = AttentionOp::create(builder, loc, TypeRange{q.getType()}, q, cache, layer, batch, scale,
                                    window, /*splits=*/IntegerAttr(), /*split_keys=*/IntegerAttr(), ValueRange(),
                                    DenseI64ArrayAttr())
                    .getResult(0);
  Value merged = MergeHeadsOp::create(builder, loc, rows({config.heads * config.headDim}), heads);
  return linear(merged, kind.name + ".o_proj", instance, true);
}

/// Qwen3MLP.
Value Importer::mlp(const LayerKind &kind, Value x, Value instance) {
  Value gate = linear(x, kind.name + ".gate_proj", instance),
        up = linear(x, kind.name + ".up_proj", instance);
  Value inner =
      SwigluOp::create(builder, loc, TypeRange{gate.getType()}, gate, up, ValueRange(), DenseI64ArrayAttr())
          .getResult(0);
  return linear(inner, kind.name + ".down_proj", instance);
}

/// Qwen3MoeSparseMoeBlock.
Value Importer::experts(const LayerKind &kind, Value x, Value instance) {
  Value logits = linear(x, kind.name + ".router", instance);
  Type results[] = {rows({config.topK}), rows({config.topK}, builder.getI32Type())};
  auto router =
      RouterOp::create(builder, loc, TypeRange(results), logits, builder.getI64IntegerAttr(config.topK),
                       builder.getBoolAttr(config.normTopKProb), ValueRange(), DenseI64ArrayAttr());
  Value gate = param(kind.name + ".gate_proj", instance), up = param(kind.name + ".up_proj", instance);
  Value down = param(kind.name + ".down_proj", instance);
  return ExpertsOp::create(builder, loc, x.getType(), x, router.getResult(0), router.getResult(1), gate, up,
                           down);
}

//===-- Functions -------------------------------------------------------------------------------------------------===//

void Importer::addLayer(const LayerKind &kind) {
  OpBuilder::InsertionGuard guard(builder);
  Type index = builder.getIndexType(), hidden = rows({config.hidden});
  Type inputs[] = {hidden, rows({config.headDim}), BatchType::get(builder.getContext()), cacheType, index,
                   index};
  auto function = func::FuncOp::create(builder, loc, kind.name, builder.getFunctionType(inputs, hidden));
  Block &entry = *function.addEntryBlock();
  builder.setInsertionPointToStart(&entry);
  Value x = entry.getArgument(0), instance = entry.getArgument(5);
  Value normed = rmsNorm(x, param(kind.name + ".input_layernorm", instance));
  x = add(x, attention(kind, normed, entry));
  normed = rmsNorm(x, param(kind.name + ".post_attention_layernorm", instance));
  x = add(x, kind.config.sparse ? experts(kind, normed, instance) : mlp(kind, normed, instance));
  func::ReturnOp::create(builder, loc, x);
}

void Importer::addForward(ArrayRef<LayerKind> kinds) {
  OpBuilder::InsertionGuard guard(builder);
  MLIRContext *context = builder.getContext();
  Type inputs[] = {BatchType::get(context), cacheType};
  auto function = func::FuncOp::create(builder, loc, "forward",
                                       builder.getFunctionType(inputs, Type(rows({config.vocab}))));
  Block &entry = *function.addEntryBlock();
  builder.setInsertionPointToStart(&entry);
  Value batch = entry.getArgument(0), cache = entry.getArgument(1);
  Value first = arith::ConstantIndexOp::create(builder, loc, 0);
  Value table = param("embed_tokens", first);
  Type hidden = rows({config.hidden});
  Value x =
      EmbeddingOp::create(builder, loc, TypeRange{hidden}, batch, table, ValueRange(), DenseI64ArrayAttr())
          .getResult(0);
  Value rope = RopeTableOp::create(builder, loc, TypeRange{rows({config.headDim})}, batch,
                                   FlatSymbolRefAttr::get(context, "rope"), ValueRange(), DenseI64ArrayAttr())
                   .getResult(0);
  SmallVector<Attribute> callees(config.layers.size());
  for (const LayerKind &kind : kinds)
    for (int64_t layer : kind.layers)
      callees[layer] = FlatSymbolRefAttr::get(context, kind.name);
  x = LayersOp::create(builder, loc, TypeRange{hidden}, x, rope, batch, cache, builder.getArrayAttr(callees))
          .getResult();
  x = OutputRowsOp::create(builder, loc, TypeRange{hidden}, x, batch, ValueRange(), DenseI64ArrayAttr())
          .getResult(0);
  x = rmsNorm(x, param("norm", first));
  func::ReturnOp::create(builder, loc, linear(x, config.tieEmbeddings ? "embed_tokens" : "lm_head", first));
}

} // namespace

Result<OwningOpRef<ModuleOp>> qwench::importModel(MLIRContext &context, const hf::ModelConfig &config,
                                                  const ImportOptions &options) {
  if (options.maxContext < 1)
    return userError("expected a context of at least 1 token, found " + std::to_string(options.maxContext));
  context.loadDialect<QwenDialect>();
  OwningOpRef<ModuleOp> module = Importer(context, config, options).run();
  std::string message;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) { message += diagnostic.str(); });
  if (failed(verify(*module)))
    return internalError("the imported model does not verify: " + message);
  return module;
}
