#include "runtime/core/metadata.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace qwench {

namespace {

using nlohmann::json;

Error wrong(const std::string &where, const std::string &expected) {
  std::string message = "metadata section: expected " + expected + " at '" + where + "'";
  for (char &c : message) // names come from the file
    c = static_cast<unsigned char>(c) < ' ' ? '?' : c;
  return userError(message);
}

/// Reads object[key] into `out` if it is there and not null.
Status readString(const json &object, const char *key, std::string &out) {
  auto it = object.find(key);
  if (it == object.end() || it->is_null())
    return ok();
  if (!it->is_string())
    return wrong(key, "a string");
  out = it->get<std::string>();
  return ok();
}

Status readNumber(const json &object, const char *key, double low, double high, double &out) {
  auto it = object.find(key);
  if (it == object.end() || it->is_null())
    return ok();
  if (!it->is_number() || !(it->get<double>() >= low && it->get<double>() <= high))
    return wrong(key, "a number from " + std::to_string(low) + " to " + std::to_string(high));
  out = it->get<double>();
  return ok();
}

Status readUnsigned(const json &object, const char *key, uint64_t &out) {
  auto it = object.find(key);
  if (it == object.end() || !it->is_number_unsigned())
    return wrong(key, "an unsigned integer");
  out = it->get<uint64_t>();
  return ok();
}

Status readFloat(const json &object, const char *key, double low, double high, float &out) {
  double value = out;
  Status status = readNumber(object, key, low, high, value);
  out = static_cast<float>(value);
  return status;
}

Status readGeneration(const json &object, GenerationDefaults &out) {
  if (!object.is_object())
    return wrong("generation", "an object");
  if (auto it = object.find("do_sample"); it != object.end() && it->is_boolean())
    out.doSample = it->get<bool>();
  double topK = 0;
  if (Status s = readFloat(object, "temperature", 0, 1000, out.temperature); !s)
    return s;
  if (Status s = readFloat(object, "top_p", 0, 1, out.topP); !s)
    return s;
  if (Status s = readFloat(object, "min_p", 0, 1, out.minP); !s)
    return s;
  if (Status s = readNumber(object, "top_k", 0, INT32_MAX, topK); !s)
    return s;
  out.topK = static_cast<int32_t>(topK);
  auto ids = object.find("eos_token_ids");
  if (ids == object.end() || ids->is_null())
    return ok();
  if (!ids->is_array())
    return wrong("eos_token_ids", "an array of token ids");
  for (const json &id : *ids) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX)
      return wrong("eos_token_ids", "an array of token ids");
    out.endTokens.push_back(id.get<int32_t>());
  }
  return ok();
}

Status readVariables(const json &root, std::vector<std::pair<std::string, std::string>> &out) {
  auto variables = root.find("template_variables");
  if (variables == root.end() || variables->is_null())
    return ok();
  if (!variables->is_object())
    return wrong("template_variables", "an object");
  for (const auto &[name, value] : variables->items()) {
    if (!value.is_string())
      return wrong("template_variables", "strings");
    out.emplace_back(name, value.get<std::string>());
  }
  return ok();
}

Status readTensor(const json &object, uint64_t weightBytes, RandomTensor &out) {
  if (!object.is_object())
    return wrong("random_weights.tensors", "objects");
  std::string type, init = "normal";
  for (Status s : {readString(object, "name", out.name), readString(object, "dtype", type),
                   readString(object, "init", init), readUnsigned(object, "offset", out.offset),
                   readUnsigned(object, "bytes", out.bytes), readFloat(object, "std", 0, 1e6, out.deviation)})
    if (!s)
      return s;
  if (auto panels = object.find("panels"); panels != object.end()) {
    if (out.offset > weightBytes || out.bytes > weightBytes - out.offset)
      return wrong("offset", "a range within " + std::to_string(weightBytes) + " bytes for tensor " + out.name);
    return readRandomPanels(*panels, out.bytes, out.panels.emplace());
  }
  if (type != "bf16" && type != "f32")
    return wrong("dtype", "\"bf16\" or \"f32\" of tensor " + out.name);
  if (init != "normal" && init != "ones")
    return wrong("init", "\"normal\" or \"ones\" of tensor " + out.name);
  out.type = type == "f32" ? RandomTensor::Type::F32 : RandomTensor::Type::BF16;
  out.init = init == "ones" ? RandomTensor::Init::Ones : RandomTensor::Init::Normal;
  uint64_t element = type == "f32" ? 4 : 2;
  if (out.offset > weightBytes || out.bytes > weightBytes - out.offset || out.offset % element ||
      out.bytes % element)
    return wrong("offset", "a range of whole elements within " + std::to_string(weightBytes) +
                               " bytes for tensor " + out.name);
  return ok();
}

Status readRandom(const json &object, uint64_t weightBytes, RandomWeights &out) {
  if (!object.is_object())
    return wrong("random_weights", "an object");
  if (Status s = readUnsigned(object, "seed", out.seed); !s)
    return s;
  auto tensors = object.find("tensors");
  if (tensors == object.end() || !tensors->is_array())
    return wrong("random_weights.tensors", "an array");
  for (const json &tensor : *tensors)
    if (Status s = readTensor(tensor, weightBytes, out.tensors.emplace_back()); !s)
      return s;
  return ok();
}

} // namespace

Result<Metadata> parseMetadata(std::string_view text, uint64_t weightBytes) {
  json root = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!root.is_object())
    return userError("metadata section: expected a JSON object");
  Metadata result;
  std::string external;
  for (Status s :
       {readString(root, "name", result.name), readString(root, "architecture", result.architecture),
        readString(root, "qwench_version", result.version), readString(root, "external_weights", external)})
    if (!s)
      return s.takeError();
  double sampled = 0;
  if (Status s = readNumber(root, "sampled_vocab_size", 0, INT32_MAX, sampled); !s)
    return s.takeError();
  result.sampledVocabulary = static_cast<int64_t>(sampled);
  if (Status s = readVariables(root, result.templateVariables); !s)
    return s.takeError();
  if (auto it = root.find("config"); it != root.end())
    result.config = it->dump(-1, ' ', false, json::error_handler_t::replace);
  if (auto it = root.find("generation"); it != root.end())
    if (Status s = readGeneration(*it, result.generation); !s)
      return s.takeError();
  if (auto it = root.find("random_weights"); it != root.end() && !it->is_null())
    if (Status s = readRandom(*it, weightBytes, result.randomWeights.emplace()); !s)
      return s.takeError();
  if (!external.empty()) {
    if (external.find('/') != std::string::npos || external.find('\0') != std::string::npos ||
        external == "..")
      return wrong("external_weights", "a file name without directories");
    result.externalWeights = external;
  }
  return result;
}

} // namespace qwench
