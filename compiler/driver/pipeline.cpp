#include "compiler/driver/pipeline.h"

#include "dialects/Qwen.h"
#include "passes/Pipelines.h"
#include "passes/fault.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassInstrumentation.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace qwench {

namespace {

/// Says which stage a printed module holds.
constexpr StringLiteral kStageAttribute = "qwen.stage";
constexpr StringLiteral kStageNames[] = {"model", "fused", "planned", "kernels", "lowered"};

StringRef name(Stage stage) { return kStageNames[static_cast<size_t>(stage)]; }

/// Errors that passes and parsers report while it lives, as one line.
class Diagnostics {
public:
  explicit Diagnostics(MLIRContext *context)
      : handler(context, [this](Diagnostic &diagnostic) {
          if (diagnostic.getSeverity() == DiagnosticSeverity::Error && message.empty()) {
            message = describe(diagnostic);
            usersFault = isUserFault(diagnostic);
          }
        }) {}

  std::string take(StringRef otherwise) { return message.empty() ? otherwise.str() : std::move(message); }
  /// Whether the pass that reported it says that it is.
  bool isUsersFault() const { return usersFault; }

private:
  static std::string describe(Diagnostic &diagnostic) {
    std::string text;
    llvm::raw_string_ostream stream(text);
    if (auto file = dyn_cast<FileLineColLoc>(diagnostic.getLocation()))
      stream << file.getFilename().getValue() << ":" << file.getLine() << ":" << file.getColumn() << ": ";
    stream << diagnostic.str();
    return StringRef(text).split('\n').first.str();
  }

  std::string message;
  bool usersFault = false;
  ScopedDiagnosticHandler handler;
};

/// Remembers the flags of the passes that ran.
struct PassRecorder : PassInstrumentation {
  explicit PassRecorder(llvm::SetVector<StringRef> &seen) : seen(seen) {}
  void runBeforePass(Pass *pass, Operation *) override {
    if (!pass->getArgument().empty())
      seen.insert(pass->getArgument());
  }
  llvm::SetVector<StringRef> &seen;
};

void printAfter(PassManager &passes, const std::string &flag) {
  auto never = [](Pass *, Operation *) { return false; };
  auto chosen = [flag](Pass *pass, Operation *) { return flag == "all" || pass->getArgument() == flag; };
  passes.getContext()->disableMultithreading();
  passes.enableIRPrinting(never, chosen, /*printModuleScope=*/true, /*printAfterOnlyOnChange=*/false,
                          /*printAfterOnlyOnFailure=*/false, llvm::errs());
}

} // namespace

std::unique_ptr<MLIRContext> createContext() {
  DialectRegistry registry;
  registerAllDialects(registry);
  registerAllExtensions(registry);
  registerAllToLLVMIRTranslations(registry);
  registry.insert<qwen::QwenDialect>();
  return std::make_unique<MLIRContext>(registry);
}

Status buildStage(OpPassManager &passes, Stage stage, const PipelineOptions &options) {
  switch (stage) {
  case Stage::Model:
    return ok();
  case Stage::Fused:
    return buildFusePipeline(passes, options.disabledFusions, options.formats);
  case Stage::Planned:
    buildPlanPipeline(passes, options.target->properties(), options.program);
    return ok();
  case Stage::Kernels:
    options.target->addKernelPasses(passes);
    return ok();
  case Stage::Lowered:
    options.target->addLoweringPasses(passes);
    return ok();
  }
  return internalError("unknown stage");
}

Status advance(ModuleOp module, Stage from, Stage to, const PipelineOptions &options) {
  Diagnostics diagnostics(module.getContext());
  llvm::SetVector<StringRef> seen;
  if (from == Stage::Fused) // text that was read back: the target has not been asked
    if (Status supported = options.target->supports(module); !supported)
      return supported;
  for (int stage = static_cast<int>(from) + 1; stage <= static_cast<int>(to); stage++) {
    PassManager passes(module.getContext());
    passes.addInstrumentation(std::make_unique<PassRecorder>(seen));
    if (!options.printAfter.empty())
      printAfter(passes, options.printAfter);
    if (Status built = buildStage(passes, static_cast<Stage>(stage), options); !built)
      return built;
    bool done = succeeded(passes.run(module));
    if (!done && diagnostics.isUsersFault())
      return userError(diagnostics.take("a pass failed"));
    if (!done)
      return Error{"cannot compile to stage " + name(static_cast<Stage>(stage)).str() + ": " +
                       diagnostics.take("a pass failed"),
                   options.fault};
    module->setAttr(kStageAttribute, StringAttr::get(module.getContext(), name(static_cast<Stage>(stage))));
    if (static_cast<Stage>(stage) == Stage::Fused)
      if (Status supported = options.target->supports(module); !supported)
        return supported;
  }
  if (!options.printAfter.empty() && options.printAfter != "all" && !seen.contains(options.printAfter)) {
    std::string names;
    for (StringRef pass : seen)
      names += (names.empty() ? "" : ", ") + pass.str();
    return userError("--print-after: expected all or one of " + names + ", found '" + options.printAfter +
                     "'");
  }
  return ok();
}

Result<ParsedModule> readModule(MLIRContext &context, const std::string &path) {
  Diagnostics diagnostics(&context);
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(path, &context);
  if (!module)
    return userError(diagnostics.take("cannot read '" + path + "'"));
  ParsedModule result{std::move(module), Stage::Model};
  auto attribute = (*result.module)->getAttrOfType<StringAttr>(kStageAttribute);
  if (!attribute)
    return result;
  for (Stage stage : {Stage::Model, Stage::Fused, Stage::Planned, Stage::Kernels})
    if (attribute.getValue() == name(stage)) {
      result.stage = stage;
      return result;
    }
  return userError("'" + path + "': expected " + kStageAttribute.str() +
                   " model, fused, planned or kernels, found '" + attribute.getValue().str() + "'");
}

} // namespace qwench
