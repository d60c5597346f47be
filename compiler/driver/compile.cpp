#include "compiler/driver/compile.h"

#include "compiler/driver/metadata.h"
#include "compiler/driver/model_source.h"
#include "compiler/driver/package.h"
#include "compiler/driver/pipeline.h"
#include "compiler/link/output_file.h"
#include "dialects/quantization/names.h"
#include "passes/quantize/FormatRules.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/raw_ostream.h"

#include <thread>

using namespace mlir;

namespace qwench {

namespace {

Stage stageOf(Rung rung) {
  switch (rung) {
  case Rung::Model:
    return Stage::Model;
  case Rung::Fused:
    return Stage::Fused;
  case Rung::Planned:
  case Rung::Weights:
    return Stage::Planned;
  case Rung::Kernels:
    return Stage::Kernels;
  default:
    return Stage::Lowered;
  }
}

/// One compilation, from the options to the files.
class Compilation {
public:
  Compilation(CompileOptions options, Console &console) : options(std::move(options)), console(console) {}
  Status run();

private:
  Status checkOptions();
  Status checkFormats();
  Status openInput();
  Status createOutput();
  Status load();
  Status importDirectory();
  Status lower(Stage to);
  Status emitText();
  Status emitObject(EmitKind kind, llvm::SmallVectorImpl<char> &bytes);
  Status writeOutput(llvm::StringRef bytes);
  Status emitPackage();
  void summarize(uint64_t bytes, const std::string &more = "");

  CompileOptions options;
  Console &console;
  ModelSource source;
  Extras extras;
  std::optional<link::OutputFile> output;
  std::unique_ptr<Target> target;
  std::unique_ptr<MLIRContext> context = createContext();
  OwningOpRef<ModuleOp> module;
  OwningOpRef<ModuleOp> planned; ///< a copy, when the module goes on below
  PipelineOptions pipeline;
  Stage stage = Stage::Model;
};

Status Compilation::checkOptions() {
  Rung rung = options.emit;
  if (options.output.empty() && !isText(rung))
    return userError("expected -o OUT with --emit=" + std::string(name(rung)));
  if (options.output.empty())
    options.output = "-";
  if (options.output == "-" && rung > Rung::Object)
    return userError("-o -: --emit=" + std::string(name(rung)) + " cannot be written to standard output");
  if (options.externalWeights && rung < Rung::Shared)
    return userError("--external-weights is for --emit=shared and --emit=exe");
  if (options.randomWeights && options.externalWeights)
    return userError("--random-weights has no weights to put beside the executable");
  if (options.randomWeights && rung == Rung::Weights)
    return userError("--random-weights has no weights to write");
  if (options.maxContext && (*options.maxContext < 1 || *options.maxContext > 1 << 24))
    return userError("--max-context: expected 1 to " + std::to_string(1 << 24) + ", found " +
                     std::to_string(*options.maxContext));
  if (Status valid = checkFormats(); !valid)
    return valid;
  if (options.threads <= 0)
    options.threads = std::max(1u, std::thread::hardware_concurrency());
  return ok();
}

Status Compilation::checkFormats() {
  const WeightFormats &formats = options.formats;
  context->loadDialect<qwen::QwenDialect>();
  if (!formats.dtype.empty())
    if (auto element = quantization::parseElement(context.get(), formats.dtype, formats.groupSize); !element)
      return userError("--dtype: " + element.error().message);
  if (auto rules = parseFormatRules(context.get(), formats.dtypeFor, formats.groupSize); !rules)
    return userError("--dtype-for: " + rules.error().message);
  return ok();
}

Status Compilation::openInput() {
  Rung rung = options.emit;
  bool packs = needsWeights(rung) && !options.randomWeights;
  bool present = hf::Checkpoint::exists(options.model);
  Result<ModelSource> opened = openModel(options.model, packs || present);
  if (!opened)
    return opened.takeError();
  source = opened.take();
  if (packs && source.kind != ModelSource::Kind::Directory)
    return userError("'" + options.model +
                     "' has no weights: give a model directory, or --random-weights SEED");
  if (rung >= Rung::Shared && source.kind == ModelSource::Kind::Directory && !options.noTokenizer) {
    Result<Extras> read = readExtras(options.model);
    if (!read)
      return read.takeError();
    extras = read.take();
  }
  if (source.config)
    for (const std::string &warning : source.config->warnings)
      console.warning(warning);
  for (const std::string &warning : source.generation.warnings)
    console.warning(warning);
  return ok();
}

Status Compilation::createOutput() {
  if (options.output == "-")
    return ok();
  Result<link::OutputFile> file = link::OutputFile::create(options.output, options.emit <= Rung::Object);
  if (!file)
    return file.takeError();
  output.emplace(file.take());
  return ok();
}

Status Compilation::importDirectory() {
  ImportOptions import;
  import.name = source.name;
  std::optional<hf::DType> type = weightType(source);
  import.dtype = options.dtype.value_or(type == hf::DType::F32 ? ElementType::F32 : ElementType::BF16);
  bool f32 = import.dtype == ElementType::F32;
  import.kvDtype = options.kvDtype.value_or(f32 ? CacheFormat::F32 : CacheFormat::BF16);
  import.maxContext = options.maxContext.value_or(source.config->maxPositionEmbeddings);
  std::vector<std::string> warnings;
  import.warnings = &warnings;
  import.products = target->properties().quantizedProducts;
  // Another format than the checkpoint's is made from its values.
  if (!options.dtype && options.formats.dtype.empty() && import.products)
    import.stored = storedFormats(source);
  Result<OwningOpRef<ModuleOp>> imported = importModel(*context, *source.config, import);
  if (!imported)
    return imported.takeError();
  for (const std::string &warning : warnings)
    console.warning(warning);
  module = imported.take();
  (*module)->setAttr("qwen.stage", StringAttr::get(context.get(), "model"));
  pipeline.program.maxContext = import.maxContext;
  return ok();
}

/// The module, from the configuration or from text.
Status Compilation::load() {
  pipeline.program.name = source.name;
  if (source.kind != ModelSource::Kind::Text)
    return importDirectory();
  if (options.dtype || options.kvDtype)
    return userError("--dtype and --kv-dtype are for a model directory; a .mlir file has its types");
  Result<ParsedModule> parsed = readModule(*context, source.path);
  if (!parsed)
    return parsed.takeError();
  module = std::move(parsed->module);
  stage = parsed->stage;
  if (stage != Stage::Model && !(options.formats.dtype + options.formats.dtypeFor).empty())
    return userError("--dtype and --dtype-for are for a model, '" + source.path + "' is past it");
  pipeline.fault = Error::Fault::User;
  if (auto model = (*module)->getAttrOfType<DictionaryAttr>("qwen.model")) {
    if (auto name = model.getAs<StringAttr>("name"))
      source.name = pipeline.program.name = name.getValue().str();
    if (auto context = model.getAs<IntegerAttr>("max_context"))
      pipeline.program.maxContext = context.getInt();
  }
  pipeline.program.maxContext = options.maxContext.value_or(pipeline.program.maxContext);
  if (pipeline.program.maxContext < 1)
    return userError("'" + source.path + "' does not say for how many positions: give --max-context N");
  return ok();
}

Status Compilation::lower(Stage to) {
  if (to < stage)
    return userError("'" + source.path + "' is past --emit=" + std::string(name(options.emit)));
  console.begin("compiling " + source.name);
  pipeline.target = target.get();
  pipeline.disabledFusions = options.disabledFusions;
  pipeline.formats = options.formats;
  pipeline.printAfter = options.printAfter;
  // Packing follows the planned stage while the code goes on to the object file.
  if (to > Stage::Planned && options.emit >= Rung::Shared) {
    if (stage > Stage::Planned)
      return userError("'" + source.path +
                       "' does not say how weights lie: give the planned stage, or --emit=obj");
    if (Status done = advance(*module, stage, Stage::Planned, pipeline); !done)
      return done;
    stage = Stage::Planned;
    planned = module->clone();
  }
  if (Status done = advance(*module, stage, to, pipeline); !done)
    return done;
  stage = to;
  console.detail("passes to --emit=" + std::string(name(options.emit)));
  return ok();
}

Status Compilation::emitObject(EmitKind kind, llvm::SmallVectorImpl<char> &bytes) {
  llvm::raw_svector_ostream stream(bytes);
  Status emitted = target->emit(*module, kind, stream);
  if (emitted)
    console.detail("code: " + formatBytes(bytes.size()));
  return emitted;
}

Status Compilation::writeOutput(llvm::StringRef bytes) {
  if (!output) {
    llvm::outs() << bytes;
    llvm::outs().flush();
    if (llvm::outs().has_error()) {
      std::error_code error = llvm::outs().error();
      llvm::outs().clear_error();
      return userError("cannot write standard output: " + error.message());
    }
    return ok();
  }
  if (Status written = output->append({bytes.data(), bytes.size()}); !written)
    return written;
  if (Status committed = output->commit(/*executable=*/false); !committed)
    return committed;
  summarize(bytes.size());
  return ok();
}

Status Compilation::emitText() {
  llvm::SmallString<0> text;
  if (options.emit >= Rung::LLVM) {
    EmitKind kind = options.emit == Rung::LLVM       ? EmitKind::LLVM
                    : options.emit == Rung::Assembly ? EmitKind::Assembly
                    : options.emit == Rung::Ptx      ? EmitKind::Ptx
                    : options.emit == Rung::Hsaco    ? EmitKind::Hsaco
                                                     : EmitKind::Object;
    if (Status emitted = emitObject(kind, text); !emitted)
      return emitted;
  } else {
    llvm::raw_svector_ostream stream(text);
    module->print(stream);
  }
  return writeOutput(text);
}

Status Compilation::emitPackage() {
  Package package;
  package.kind = options.emit;
  package.planned = planned ? *planned : *module;
  package.threads = options.threads;
  package.source = &source;
  package.extras = &extras;
  package.externalWeights = options.externalWeights;
  package.metadata = {.target = options.target,
                      .cpu = options.cpu,
                      .gpus = options.gpus,
                      .schedule = options.schedule,
                      .matrixUnit = options.matrixUnit,
                      .dependentLaunch = options.dependentLaunch,
                      .randomSeed = options.randomWeights,
                      .externalWeights = ""};
  llvm::SmallString<0> object;
  if (options.emit != Rung::Weights)
    if (Status emitted = emitObject(EmitKind::Object, object); !emitted)
      return emitted;
  package.object = object;
  Result<PackageSizes> sizes = writePackage(package, *output, console);
  if (!sizes)
    return sizes.takeError();
  std::string more = "code " + formatBytes(sizes->image) + ", weights " +
                     (options.randomWeights ? "made at start" : formatBytes(sizes->weights));
  if (options.externalWeights)
    more += " in '" + options.output + ".weights'";
  summarize(sizes->file, more);
  return ok();
}

void Compilation::summarize(uint64_t bytes, const std::string &more) {
  console.summary("qwench: wrote '" + options.output + "': " + formatBytes(bytes) +
                  (more.empty() ? "" : " (" + more + ")") + " in " + formatSeconds(console.seconds()));
}

Status Compilation::run() {
  if (Status status = checkOptions(); !status)
    return status;
  Result<std::unique_ptr<Target>> created = createTarget(options.target, {.cpu = options.cpu,
                                                                          .gpus = options.gpus,
                                                                          .schedule = options.schedule,
                                                                          .matrixUnit = options.matrixUnit,
                                                                          .dependentLaunch = options.dependentLaunch});
  if (!created)
    return created.takeError();
  target = created.take();
  if (Status status = openInput(); !status)
    return status;
  if (Status status = createOutput(); !status)
    return status;
  if (Status status = load(); !status)
    return status;
  if (Status status = lower(stageOf(options.emit)); !status)
    return status;
  return options.emit <= Rung::Object ? emitText() : emitPackage();
}

} // namespace

Status compile(const CompileOptions &options, Console &console) {
  return Compilation(options, console).run();
}

} // namespace qwench
