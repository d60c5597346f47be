#include "compiler/driver/inspect.h"

#include "compiler/driver/console.h"
#include "compiler/link/bundle.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <nlohmann/json.hpp>

namespace qwench {

using Json = nlohmann::ordered_json;

namespace {

/// The metadata's value as text for people; strings without quotes and control characters.
std::string plain(const Json &value) {
  std::string text = value.is_string() ? value.get<std::string>()
                                       : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  for (char &c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      c = ' ';
  return text.substr(0, 200);
}

std::string line(const std::string &key, const std::string &value) {
  std::string padded = key;
  padded.resize(std::max<size_t>(padded.size() + 1, 22), ' ');
  return padded + value + "\n";
}

/// The keys of `object` that people want to see, in this order.
std::string lines(const Json &object, std::initializer_list<const char *> keys) {
  std::string text;
  if (!object.is_object())
    return text;
  for (const char *key : keys)
    if (auto it = object.find(key); it != object.end())
      text += line(key, plain(*it));
  return text;
}

Json sectionList(const link::BundleIndex &index) {
  Json list = Json::array();
  for (const QwenchSection &section : index.sections)
    list.push_back(
        {{"section", sectionName(section.kind)}, {"offset", section.offset}, {"bytes", section.bytes}});
  return list;
}

Result<hf::Description> inspectCompiled(const std::string &path) {
  Result<link::BundleIndex> index = link::readBundle(path);
  if (!index)
    return index.takeError();
  Json metadata = Json::object();
  for (const QwenchSection &section : index->sections) {
    if (section.kind != QWENCH_SECTION_METADATA)
      continue;
    Result<std::string> text = link::readSection(path, section);
    if (!text)
      return text.takeError();
    metadata = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
    if (!metadata.is_object())
      return userError("'" + path + "' is damaged: the metadata section is no JSON object");
  }
  std::string hash = llvm::utohexstr(index->planHash, /*LowerCase=*/true, 16);
  Json json = {
      {"file", path}, {"bytes", index->fileBytes}, {"plan_hash", hash}, {"sections", sectionList(*index)}};
  std::string text =
      line("file", path) + line("size", formatBytes(index->fileBytes)) + line("plan hash", hash);
  text +=
      lines(metadata, {"name", "architecture", "qwench_version", "external_weights", "sampled_vocab_size"});
  if (metadata.contains("compilation"))
    text += lines(metadata["compilation"], {"target", "cpu", "gpu", "dtype", "kv_dtype", "max_context"});
  if (metadata.contains("config"))
    text += lines(metadata["config"], {"hidden_size", "num_hidden_layers", "num_attention_heads",
                                       "num_key_value_heads", "head_dim", "intermediate_size", "num_experts",
                                       "num_experts_per_tok", "moe_intermediate_size", "vocab_size"});
  if (auto random = metadata.find("random_weights"); random != metadata.end() && random->is_object()) {
    text += line("random weights", "seed " + plain(random->value("seed", Json())));
    if (auto tensors = random->find("tensors"); tensors != random->end() && tensors->is_array())
      (*random)["tensors"] = tensors->size();
  }
  for (const QwenchSection &section : index->sections)
    text +=
        line(sectionName(section.kind), formatBytes(section.bytes) + " at " + std::to_string(section.offset));
  json["metadata"] = std::move(metadata);
  return hf::Description{text, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"};
}

} // namespace

Result<hf::Description> inspect(const std::string &path) {
  if (!llvm::sys::fs::exists(path))
    return userError("cannot open '" + path + "': No such file or directory");
  if (llvm::sys::fs::is_directory(path) || llvm::sys::path::extension(path) == ".json")
    return hf::describeModel(path);
  return inspectCompiled(path);
}

} // namespace qwench
