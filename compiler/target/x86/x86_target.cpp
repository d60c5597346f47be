#include "compiler/target/x86/x86_target.h"

#include "compiler/emit/codegen.h"
#include "compiler/target/entry_points.h"
#include "compiler/target/routers.h"
#include "compiler/target/x86/cost_model.h"
#include "compiler/target/x86/group_kernel.h"
#include "compiler/target/x86/group_tile_kernel.h"
#include "compiler/target/x86/kernels.h"
#include "compiler/target/x86/passes.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/X86Vector/X86VectorDialect.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/X86TargetParser.h"

using namespace mlir;
using namespace qwench;

namespace {

/// Extensions that generated code may use: all of them are checked when a compiled model starts.
constexpr llvm::StringLiteral kChecked[] = {
    "sse4.2",     "popcnt",     "avx",        "f16c",       "avx2",         "fma",          "bmi",        "bmi2",
    "lzcnt",      "avx512f",    "avx512cd",   "avx512bw",   "avx512dq",     "avx512vl",     "avx512vbmi", "avx512vbmi2",
    "avx512vnni", "avx512ifma", "avx512bf16", "avx512bitalg", "avx512vpopcntdq", "gfni",
    "amx-tile",   "amx-bf16",   "amx-int8"};

class X86Target final : public Target {
public:
  X86Target(std::string cpu, llvm::StringMap<bool> features) : cpu(std::move(cpu)), features(std::move(features)) {}

  llvm::StringRef name() const override { return "x86-64"; }

  TargetProperties properties() const override {
    TargetProperties p;
    p.matrixLayout = [](Type element, bool pairHalves) {
      int64_t depth = element.isF32() ? 1 : 2, align = x86::kPanel;
      if (auto quant = dyn_cast<qwen::QuantType>(element)) {
        align = activationSums(quant);
        if (quant.isInteger())
          depth = x86::kStepColumns;
      }
      return qwen::LayoutAttr::get(element.getContext(), "panels", x86::kPanel, depth, align, pairHalves);
    };
    p.rowsLayout = [](MLIRContext *context) {
      return qwen::LayoutAttr::get(context, "rows", 1, 1, x86::kPanel, false);
    };
    bool dot = machine().bf16Dot;
    p.matrixInput = [dot, machine = machine(), few = p.decodeRows](Type element, int64_t rowBound) -> Type {
      auto quant = dyn_cast<qwen::QuantType>(element);
      MLIRContext *context = element.getContext();
      // Where tiles of bytes do not take groups, panels are widened for tiles of bf16.
      bool widened = machine.tiles && rowBound > few && quant && !x86::groupTilesFit(machine, activationSums(quant));
      if (quant && quant.isInteger() && !widened)
        return activations(context, activationSums(quant));
      // Codes of e4m3 become f32 in registers where few rows meet them.
      if (quant && !quant.isInteger() && rowBound <= few)
        return Float32Type::get(context);
      return dot && (quant || element.isBF16()) ? Type(BFloat16Type::get(context)) : Type(Float32Type::get(context));
    };
    // The rows of a decode step meet codes in f32; for more, blocks become what products of floats are fastest with.
    p.quantizedCacheInput = [dot, few = p.decodeRows](MLIRContext *context, int64_t rowBound) -> Type {
      return dot && rowBound > few ? Type(BFloat16Type::get(context)) : Type(Float32Type::get(context));
    };
    p.quantizedProducts = [](qwen::QuantType) { return true; };
    p.rowStride = [](int64_t width, int64_t bytes) {
      // Rows a multiple of 1 KiB apart would meet in few sets of the first-level cache: 12 of them are read at once.
      int64_t stride = llvm::alignTo(width, std::max(x86::kPanel, 64 / bytes));
      return stride * bytes % 1024 ? stride : stride + 64 / bytes;
    };
    p.tile = [machine = machine(), input = p.matrixInput](Operation *op, int64_t rowBound) {
      return x86::tileSizesOf(machine, op, rowBound, [&](Type weight) { return input(weight, rowBound); });
    };
    p.attentionSplit = x86::attentionSplit;
    p.threadScratchBytes = x86::kScratchBytes;
    p.cacheGranule = x86::kKeyBlock;
    p.prefillRows = x86::kMaxListedRows;
    return p;
  }

  Status supports(ModuleOp fused) const override {
    Status status = ok();
    fused.walk([&](Operation *op) {
      if (int64_t experts = expertsOf(op); experts > x86::kMaxExperts)
        status = userError("expected at most " + std::to_string(x86::kMaxExperts) + " experts for x86-64, found " +
                           std::to_string(experts));
      if (auto linear = dyn_cast<qwen::FusedLinearOp>(op))
        if (linear.getBias() && linear.getActivation() == qwen::Activation::Swiglu)
          status = userError("expected no bias on a gate and up projection for x86-64, found one");
      if (auto attention = dyn_cast<qwen::AttentionOp>(op)) {
        auto query = cast<ShapedType>(attention.getQuery().getType());
        int64_t group = query.getDimSize(1) / attention.getCache().getType().getHeads();
        if (query.getDimSize(2) % x86::kPanel || query.getDimSize(2) > 256 || group > 128)
          status = userError("expected a head_dim that is a multiple of 32 up to 256 and at most 128 heads per kv head "
                             "for x86-64, found " +
                             std::to_string(query.getDimSize(2)) + " and " + std::to_string(group));
        int64_t scratch = x86::attentionScratchBytes(attention, std::max(group, x86::kQueryBlock));
        if (scratch > x86::kScratchBytes)
          status = userError("expected attention tiles of at most " + std::to_string(x86::kScratchBytes) +
                             " bytes of scratch for x86-64, found " + std::to_string(scratch) +
                             ": choose another format for the KV cache");
      }
    });
    return status;
  }

  void addKernelPasses(OpPassManager &passes) const override {
    passes.addPass(x86::createToKernelsPass(machine()));
    passes.addPass(createCanonicalizerPass());
    passes.addPass(createCSEPass());
  }

  void addLoweringPasses(OpPassManager &passes) const override {
    passes.addPass(x86::createTeamSchedulePass());
    passes.addPass(x86::createStepToLLVMPass(cpu, llvm::join(usedFeatures(), ",")));
    passes.addPass(createLoopInvariantCodeMotionPass());
    passes.addPass(createSCFToControlFlowPass());
    ConvertVectorToLLVMPassOptions vectors;
    vectors.x86Vector = true;
    vectors.amx = machine().tiles;
    passes.addPass(createConvertVectorToLLVMPass(vectors));
    addHostLowering(passes);
  }

  Status emit(ModuleOp lowered, EmitKind kind, llvm::raw_pwrite_stream &out) const override {
    static constexpr CodegenOutput outputs[] = {CodegenOutput::LLVM, CodegenOutput::Assembly, CodegenOutput::Object};
    if (kind > EmitKind::Object)
      return userError("--emit: expected no device code with --target x86-64");
    SmallVector<std::string> flags;
    for (StringRef feature : usedFeatures())
      flags.push_back("+" + feature.str());
    return generateCode(lowered, {"x86_64-unknown-linux-gnu", "x86-64", cpu, llvm::join(flags, ","),
                                  {{"prefer-vector-width", "512"}}},
                        outputs[static_cast<int>(kind)], out);
  }

private:
  x86::Machine machine() const {
    x86::Machine m;
    // A named CPU lists what implies the rest.
    for (StringRef feature : {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"})
      if (features.lookup(feature))
        m.registers = 32, m.lanes = 16;
    m.bf16Dot = features.lookup("avx512bf16") && features.lookup("avx512vl");
    m.byteTiles = features.lookup("amx-tile") && features.lookup("amx-int8");
    m.tiles = m.bf16Dot && features.lookup("amx-tile") && features.lookup("amx-bf16");
    m.int8Dot = features.lookup("avx512vnni");
    m.byteShuffle = features.lookup("avx512bw");
    m.byteTable = features.lookup("avx512vbmi");
    m.firstLevel = x86::firstLevelCache(cpu);
    m.fetchAhead = x86::fetchAhead(cpu);
    return m;
  }

  /// Columns of activations that share a scale, at least: applied so rarely, the scale costs little.
  static constexpr int64_t kActivationGroup = 128;

  /// Columns of activations that have a sum in products with a weight: the weight's group, or one that costs little.
  static int64_t activationSums(qwen::QuantType weight) { return weight.getGroup() ? weight.getGroup() : kActivationGroup; }

  /// The element of activations with a sum for each `sums` columns.
  static qwen::QuantType activations(MLIRContext *context, int64_t sums) {
    int64_t group = sums < kActivationGroup ? kActivationGroup / sums * sums : sums;
    return qwen::QuantType::get(context, IntegerType::get(context, 8), group, Float32Type::get(context), 1, false, false,
                                sums == group ? 0 : sums);
  }

  /// The CPU's extensions among those that are checked at start; generated code uses no others.
  SmallVector<StringRef> usedFeatures() const {
    SmallVector<StringRef> names;
    for (StringRef feature : kChecked)
      if (features.lookup(feature))
        names.push_back(feature);
    return names;
  }

  std::string cpu;
  llvm::StringMap<bool> features;
};

std::string listCpus() {
  SmallVector<StringRef> names;
  llvm::X86::fillValidCPUArchList(names, /*Only64Bit=*/true);
  return llvm::join(names, ", ");
}

} // namespace

Result<std::unique_ptr<Target>> qwench::createX86Target(const TargetOptions &options) {
  if (options.schedule != "auto")
    return userError("--schedule: expected none with --target x86-64, found '" + options.schedule + "'");
  if (options.matrixUnit != "auto")
    return userError("--matrix-unit: expected none with --target x86-64, found '" + options.matrixUnit + "'");
  if (options.dependentLaunch != "auto")
    return userError("--dependent-launch: expected none with --target x86-64, found '" + options.dependentLaunch + "'");
  std::string cpu = options.cpu;
  llvm::StringMap<bool> features;
  if (cpu == "native") {
    cpu = llvm::sys::getHostCPUName().str();
    features = llvm::sys::getHostCPUFeatures();
  } else {
    if (llvm::X86::parseArchX86(cpu, /*Only64Bit=*/true) == llvm::X86::CK_None)
      return userError("expected a CPU for --cpu, found '" + cpu + "'; known are: native, " + listCpus());
    SmallVector<StringRef> names;
    llvm::X86::getFeaturesForCPU(cpu, names);
    for (StringRef name : names)
      features[name] = true;
  }
  return std::unique_ptr<Target>(new X86Target(cpu, std::move(features)));
}
