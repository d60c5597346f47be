#include "compiler/target/gpu/emit/gpu_target.h"

#include "compiler/target/entry_points.h"
#include "compiler/target/gpu/emit/passes.h"
#include "compiler/target/gpu/passes.h"
#include "compiler/target/gpu/properties.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace qwench::gpu {

namespace {

/// Hosts enqueue launches: any x86-64 does.
const CodegenTarget kHost = {"x86_64-unknown-linux-gnu", "x86-64", "x86-64", "", {}};

SmallVector<mlir::gpu::GPUModuleOp> deviceModules(ModuleOp module) {
  return llvm::to_vector(module.getOps<mlir::gpu::GPUModuleOp>());
}

} // namespace

TargetProperties GpuTarget::properties() const { return gpu::properties(options.wgmma); }

Status GpuTarget::supports(ModuleOp fused) const { return gpu::supports(fused, name()); }

static Result<Schedule> parseSchedule(const std::string &text) {
  if (text == "graph" || text == "auto")
    return Schedule::Graph;
  if (text == "persistent")
    return Schedule::Persistent;
  return userError("--schedule: expected graph, persistent or auto, found '" + text + "'");
}

/// A choice between two ways of all architectures together, the second of which not every one has.
struct Choice {
  const char *option, *usual, *other;
  bool Architecture::*able;
};
constexpr Choice kMatrixUnitChoice = {"--matrix-unit", "mma", "wgmma", &Architecture::wgmma};
constexpr Choice kDependentLaunch = {"--dependent-launch", "off", "on", &Architecture::dependentLaunches};

/// Whether `text` asks for the other way, which all of `chosen` must have then.
static Result<bool> parseChoice(const Choice &choice, const std::string &text, ArrayRef<Architecture> table,
                                ArrayRef<const Architecture *> chosen) {
  const std::string option = choice.option;
  if (text == choice.usual || text == "auto")
    return false;
  if (text != choice.other)
    return userError(option + ": expected " + choice.usual + ", " + choice.other + " or auto, found '" + text + "'");
  std::string able;
  for (const Architecture &entry : table)
    if (entry.*choice.able)
      able += (able.empty() ? "" : ", ") + entry.name.str();
  for (const Architecture *architecture : chosen)
    if (!(architecture->*choice.able))
      return userError(option + " " + choice.other + ": expected architectures that have it (" + (able.empty() ? "none" : able) +
                       "), found " + architecture->name.str());
  return true;
}

Result<GpuOptions> parseGpuOptions(ArrayRef<Architecture> table, const TargetOptions &options) {
  auto chosen = chooseArchitectures(table, options.gpus);
  if (!chosen)
    return chosen.takeError();
  auto schedule = parseSchedule(options.schedule);
  if (!schedule)
    return schedule.takeError();
  auto wgmma = parseChoice(kMatrixUnitChoice, options.matrixUnit, table, *chosen);
  if (!wgmma)
    return wgmma.takeError();
  auto dependent = parseChoice(kDependentLaunch, options.dependentLaunch, table, *chosen);
  if (!dependent)
    return dependent.takeError();
  if (*dependent && *schedule == Schedule::Persistent)
    return userError("--dependent-launch on: expected --schedule graph, found persistent, whose decode step is one launch");
  return GpuOptions{chosen.take(), *schedule, *wgmma, *dependent};
}

std::vector<Device> GpuTarget::devices() const {
  std::vector<Device> devices;
  for (const Architecture *architecture : options.architectures)
    devices.push_back(architecture->device(options.wgmma, options.dependentLaunches));
  return devices;
}

void GpuTarget::addKernelPasses(OpPassManager &passes) const {
  passes.addPass(createToKernelsPass(devices(), options.schedule));
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
}

void GpuTarget::addLoweringPasses(OpPassManager &passes) const {
  addSchedulePasses(passes, devices(), options.schedule);
  addDevicePasses(passes, createConversionPass());
  std::string names;
  for (const Architecture *architecture : options.architectures)
    names += (names.empty() ? "" : ",") + architecture->name.str();
  passes.addPass(createHostToLLVMPass(name().str(), names));
  OpPassManager &host = passes.nest<func::FuncOp>();
  host.addPass(createSCFToControlFlowPass());
  addHostLowering(passes);
}

Status GpuTarget::emit(ModuleOp lowered, EmitKind kind, llvm::raw_pwrite_stream &out) const {
  if (kind == EmitKind::LLVM)
    return emitText(lowered, CodegenOutput::LLVM, out);
  if (kind == EmitKind::Assembly)
    return emitText(lowered, CodegenOutput::Assembly, out);
  if (kind == EmitKind::Object)
    return emitObject(lowered, out);
  if (kind != imageKind())
    return userError("--emit: expected " + std::string(imageKind() == EmitKind::Ptx ? "ptx" : "hsaco") + " for --target " +
                     name().str() + ", found " + (kind == EmitKind::Ptx ? "ptx" : "hsaco"));
  auto modules = deviceModules(lowered);
  if (modules.size() != 1)
    return userError("--emit: expected one architecture in --gpu for device code alone, found " +
                     std::to_string(modules.size()));
  Result<std::string> file = makeFile(modules.front());
  if (!file)
    return file.takeError();
  out << *file;
  return ok();
}

/// Device code, one architecture after the other; LLVM IR has the host's in front.
Status GpuTarget::emitText(ModuleOp lowered, CodegenOutput output, llvm::raw_pwrite_stream &out) const {
  if (output == CodegenOutput::LLVM) {
    OwningOpRef<ModuleOp> host = lowered.clone();
    for (auto module : deviceModules(*host))
      module.erase();
    if (Status status = generateCode(*host, kHost, output, out); !status)
      return status;
  }
  for (auto module : deviceModules(lowered)) {
    Result<std::string> text = generateDeviceCode(module, codegenTarget(module.getName()), output);
    if (!text)
      return text.takeError();
    out << *text;
  }
  return ok();
}

Status GpuTarget::emitObject(ModuleOp lowered, llvm::raw_pwrite_stream &out) const {
  OwningOpRef<ModuleOp> host = lowered.clone();
  auto modules = deviceModules(*host);
  Result<std::vector<Image>> images = makeImages(modules);
  if (!images)
    return images.takeError();
  for (auto module : modules)
    module.erase();
  defineDeviceProgram(*host, name(), *images);
  return generateCode(*host, kHost, CodegenOutput::Object, out);
}

Result<std::string> generateDeviceCode(mlir::gpu::GPUModuleOp module, const CodegenTarget &target, CodegenOutput output) {
  llvm::SmallString<0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  if (Status status = generateCode(module, target, output, stream); !status)
    return status.takeError();
  return bytes.str().str();
}

} // namespace qwench::gpu
