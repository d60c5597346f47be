#include "compiler/driver/package.h"

#include "compiler/link/bundle.h"
#include "compiler/link/kit.h"
#include "compiler/link/link.h"
#include "compiler/pack/pack.h"

#include "llvm/Support/Path.h"

namespace qwench {

namespace {

Result<uint64_t> planHash(mlir::ModuleOp planned) {
  auto attribute = planned->getAttrOfType<mlir::IntegerAttr>("qwen.plan_hash");
  if (!attribute)
    return internalError("expected the planned module to have qwen.plan_hash");
  return static_cast<uint64_t>(attribute.getInt());
}

Status linkInto(const Package &package, link::OutputFile &output) {
  Result<link::Kit> kit = link::Kit::find();
  if (!kit)
    return kit.takeError();
  link::MemoryFile object({package.object.data(), package.object.size()});
  if (!object.valid())
    return userError("cannot hold the object file in memory");
  link::LinkOptions options;
  options.output = package.kind == Rung::Shared ? link::Output::SharedObject : link::Output::Executable;
  options.object = object.path();
  options.threads = package.threads;
  Result<std::string> image = link::linkImage(*kit, options);
  if (!image)
    return image.takeError();
  return output.append(*image);
}

/// The weights section, in the file at the place where it stays.
Status packInto(const Package &package, const pack::PackPlan &plan, uint64_t bytes,
                const CheckpointSource &source, link::OutputFile &file, link::BundleWriter &bundle,
                Console &console) {
  Result<uint64_t> offset = bundle.reserve(QWENCH_SECTION_WEIGHTS, bytes);
  if (!offset)
    return offset.takeError();
  pack::PackOptions options;
  options.descriptor = file.descriptor();
  options.offset = *offset;
  options.threads = package.threads;
  options.progress = [&](uint64_t done, uint64_t total) { console.progress("packing weights", done, total); };
  Status packed = pack::runPacking(plan, source, options);
  return packed;
}

Status appendSections(Package &package, link::BundleWriter &bundle) {
  const Extras &extras = *package.extras;
  std::string_view tokenizer(reinterpret_cast<const char *>(extras.tokenizer.data()),
                             extras.tokenizer.size());
  if (!tokenizer.empty())
    if (Status status = bundle.append(QWENCH_SECTION_TOKENIZER, tokenizer); !status)
      return status;
  if (!extras.chatTemplate.empty())
    if (Status status = bundle.append(QWENCH_SECTION_CHAT_TEMPLATE, extras.chatTemplate); !status)
      return status;
  Result<std::string> metadata = makeMetadata(*package.source, extras, package.planned, package.metadata);
  if (!metadata)
    return metadata.takeError();
  return bundle.append(QWENCH_SECTION_METADATA, *metadata);
}

} // namespace

Result<PackageSizes> writePackage(Package &package, link::OutputFile &output, Console &console) {
  Result<uint64_t> hash = planHash(package.planned);
  Result<uint64_t> weightBytes = pack::sectionBytes(package.planned);
  if (!hash || !weightBytes)
    return hash ? weightBytes.takeError() : hash.takeError();
  PackageSizes sizes;
  bool packs = !package.metadata.randomSeed.has_value();
  std::optional<CheckpointSource> source;
  std::optional<pack::PackPlan> plan;
  if (packs) {
    source.emplace(*package.source->checkpoint);
    Result<pack::PackPlan> planned = pack::planPacking(package.planned, *source);
    if (!planned)
      return planned.takeError();
    plan.emplace(planned.take());
    sizes.weights = *weightBytes;
  }
  if (package.kind != Rung::Weights) {
    if (Status linked = linkInto(package, output); !linked)
      return linked.takeError();
    Result<uint64_t> image = output.size();
    if (!image)
      return image.takeError();
    sizes.image = *image;
    console.detail("linked: " + formatBytes(sizes.image));
  }

  std::optional<link::OutputFile> beside;
  link::BundleWriter bundle(output, *hash);
  if (packs && package.externalWeights) {
    Result<link::OutputFile> file = link::OutputFile::create(output.path() + ".weights");
    if (!file)
      return file.takeError();
    beside.emplace(file.take());
    link::BundleWriter weights(*beside, *hash);
    if (Status packed = packInto(package, *plan, *weightBytes, *source, *beside, weights, console); !packed)
      return packed.takeError();
    if (Status finished = weights.finish(); !finished)
      return finished.takeError();
    package.metadata.externalWeights = llvm::sys::path::filename(beside->path()).str();
  } else if (packs) {
    if (Status packed = packInto(package, *plan, *weightBytes, *source, output, bundle, console); !packed)
      return packed.takeError();
  }
  if (package.kind != Rung::Weights)
    if (Status appended = appendSections(package, bundle); !appended)
      return appended.takeError();
  if (Status finished = bundle.finish(); !finished)
    return finished.takeError();
  Result<uint64_t> size = output.size();
  if (!size)
    return size.takeError();
  sizes.file = *size;
  if (beside)
    if (Status committed = beside->commit(/*executable=*/false); !committed)
      return committed.takeError();
  if (Status committed = output.commit(package.kind != Rung::Weights); !committed)
    return committed.takeError();
  return sizes;
}

} // namespace qwench
