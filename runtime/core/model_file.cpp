#include "runtime/core/model_file.h"

namespace qwench {

namespace {

/// The directory part of a path, with its slash.
std::string directoryOf(const std::string &path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

} // namespace

Status ModelFile::openBundle(const QwenchProgram &program, const std::string &path) {
  Result<Bundle> bundle = Bundle::open(path, program.plan_hash);
  if (!bundle)
    return bundle.takeError();
  files.push_back(std::make_unique<Bundle>(bundle.take()));
  return ok();
}

Result<ModelFile> ModelFile::open(const QwenchProgram &program, const std::string &bundle) {
  ModelFile result;
  std::string self = ownFile();
  if (!bundle.empty())
    if (Status status = result.openBundle(program, bundle); !status)
      return status.takeError();
  // With a bundle of its own, what this file holds is a supplement: another model's data or none is no error
  // then.
  Status own = result.openBundle(program, self);
  if (!own && bundle.empty())
    return own.takeError();
  if (result.has(QWENCH_SECTION_METADATA)) {
    Result<std::string> text = result.read(QWENCH_SECTION_METADATA);
    if (!text)
      return text.takeError();
    Result<Metadata> metadata = parseMetadata(*text, static_cast<uint64_t>(program.weight_bytes));
    if (!metadata)
      return metadata.takeError();
    result.description = metadata.take();
  }
  if (Status status = result.findWeights(program); !status)
    return status.takeError();
  return result;
}

Status ModelFile::findWeights(const QwenchProgram &program) {
  const Bundle *bundle = holder(QWENCH_SECTION_WEIGHTS);
  if (!bundle && description.randomWeights)
    return ok();
  if (!bundle && description.externalWeights) {
    const Bundle *describing = holder(QWENCH_SECTION_METADATA);
    std::string path = directoryOf(describing->file().path()) + *description.externalWeights;
    if (Status status = openBundle(program, path); !status)
      return status;
    bundle = holder(QWENCH_SECTION_WEIGHTS);
  }
  if (!bundle)
    return userError("'" + files.front()->file().path() + "' has no weights section");
  const QwenchSection *section = bundle->find(QWENCH_SECTION_WEIGHTS);
  if (section->bytes != static_cast<uint64_t>(program.weight_bytes))
    return userError("'" + bundle->file().path() + "': expected " + std::to_string(program.weight_bytes) +
                     " bytes of weights, found " + std::to_string(section->bytes));
  weightsHolder = bundle;
  weightsOffset = section->offset;
  return ok();
}

const Bundle *ModelFile::holder(QwenchSectionKind kind) const {
  for (const std::unique_ptr<Bundle> &bundle : files)
    if (bundle->find(kind))
      return bundle.get();
  return nullptr;
}

Result<std::string> ModelFile::read(QwenchSectionKind kind) const {
  const Bundle *bundle = holder(kind);
  return (bundle ? bundle : files.front().get())->read(kind);
}

} // namespace qwench
