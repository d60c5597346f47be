#include "frontends/huggingface/config_keys.h"

namespace qwench::hf {
namespace {

constexpr double kMaxTheta = 1e15;
constexpr double kMaxFactor = 1e6;
constexpr int64_t kMaxPositions = INT32_MAX;

/// The one set of parameters: `rope_parameters` may name one per layer type (5.x), which then have to agree.
const Json *onlyParameters(ObjectReader &reader, const Json &parameters, const std::string &key) {
  if (!parameters.is_object() || parameters.empty())
    return &parameters;
  const Json *only = nullptr;
  for (const auto &[layerType, value] : parameters.items()) {
    if (!value.is_object())
      return &parameters;
    if (only && *only != value) {
      reader.fail("expected the same " + key + " for every layer type, found others for " + show(layerType));
      return nullptr;
    }
    only = &value;
  }
  return only;
}

/// The type's name: rope_type, or type as it was called at first.
std::optional<std::string> readTypeName(ObjectReader &rope) {
  std::optional<std::string> now = rope.string("rope_type"), before = rope.string("type");
  if (now && before && *now != *before)
    rope.fail("expected " + rope.name("rope_type") + " and " + rope.name("type") + " to agree, found " +
              show(*now) + " and " + show(*before));
  return now ? now : before;
}

std::optional<RopeType> parseType(std::string_view text) {
  for (RopeType type : {RopeType::Default, RopeType::Linear, RopeType::Dynamic, RopeType::Yarn,
                        RopeType::LongRope, RopeType::Llama3})
    if (name(type) == text)
      return type;
  return std::nullopt;
}

std::vector<double> readFactors(ObjectReader &rope, const std::string &key, int64_t count) {
  const Json *list = rope.value(key);
  std::string expected = "to be a list of " + std::to_string(count) + " positive numbers (head_dim / 2)";
  if (!list || !list->is_array() || static_cast<int64_t>(list->size()) != count) {
    rope.failExpected(key, expected, list ? *list : Json());
    return {};
  }
  std::vector<double> factors;
  for (const Json &item : *list) {
    if (!item.is_number() || !(item.get<double>() > 0) || item.get<double>() > kMaxFactor) {
      rope.failExpected(key, expected, item);
      return {};
    }
    factors.push_back(item.get<double>());
  }
  return factors;
}

/// factor, which transformers wants to be at least 1. `otherwise` stands in where the type can do without.
double readFactor(ObjectReader &rope, std::optional<double> otherwise) {
  const Json *found = rope.value("factor");
  if (!found && otherwise)
    return *otherwise;
  if (found && found->is_number() && found->get<double>() >= 1 && found->get<double>() <= kMaxFactor)
    return found->get<double>();
  rope.failExpected("factor", "to be a number from 1 to 1000000", found ? *found : Json());
  return 1;
}

/// A number for which transformers takes null and 0 as absent.
double readOrDefault(ObjectReader &rope, const std::string &key, double otherwise) {
  const Json *found = rope.value(key);
  if (!found)
    return otherwise;
  if (!found->is_number() || found->get<double>() < 0 || found->get<double>() > kMaxFactor) {
    rope.failExpected(key, "to be a number from 0 to 1000000", *found);
    return otherwise;
  }
  return found->get<double>() == 0 ? otherwise : found->get<double>();
}

std::optional<double> readUnlessZero(ObjectReader &rope, const std::string &key) {
  double value = readOrDefault(rope, key, 0);
  return value == 0 ? std::nullopt : std::optional<double>(value);
}

/// What the readers of the single types share.
struct Source {
  ObjectReader &top;  ///< config.json
  ObjectReader &rope; ///< rope_scaling or rope_parameters
  bool isVersion5;    ///< written as 5.x does, so read as 5.x does
  int64_t headDim;
  int64_t maxPosition;

  /// 5.x lets original_max_position_embeddings of config.json win over that of rope_parameters.
  std::optional<int64_t> originalMaxPosition() {
    ObjectReader &reader = isVersion5 && top.has("original_max_position_embeddings") ? top : rope;
    if (!reader.has("original_max_position_embeddings"))
      return std::nullopt;
    return reader.integer("original_max_position_embeddings", maxPosition, 2, kMaxPositions);
  }
};

void readYarn(Source &source, RopeConfig &config) {
  ObjectReader &rope = source.rope;
  config.originalMaxPosition = source.originalMaxPosition().value_or(source.maxPosition);
  double ratio = static_cast<double>(source.maxPosition) / static_cast<double>(config.originalMaxPosition);
  config.factor = readFactor(rope, source.isVersion5 ? std::optional<double>(ratio) : std::nullopt);
  config.attentionFactor = rope.optionalNumber("attention_factor", 0, kMaxFactor);
  config.mscale = readUnlessZero(rope, "mscale");
  config.mscaleAllDim = readUnlessZero(rope, "mscale_all_dim");
  config.betaFast = readOrDefault(rope, "beta_fast", 32);
  config.betaSlow = readOrDefault(rope, "beta_slow", 1);
  config.truncate = rope.boolean("truncate", true);
}

void readLongRope(Source &source, RopeConfig &config) {
  ObjectReader &rope = source.rope;
  config.shortFactor = readFactors(rope, "short_factor", source.headDim / 2);
  config.longFactor = readFactors(rope, "long_factor", source.headDim / 2);
  config.attentionFactor = rope.optionalNumber("attention_factor", 0, kMaxFactor);
  std::optional<double> ratio;
  if (source.isVersion5) {
    config.originalMaxPosition = source.originalMaxPosition().value_or(source.maxPosition);
    ratio = static_cast<double>(source.maxPosition) / static_cast<double>(config.originalMaxPosition);
  } else if (source.top.has("original_max_position_embeddings")) {
    // 4.x looks at config.json's value only, and then its ratio replaces the factor.
    config.originalMaxPosition =
        source.top.integer("original_max_position_embeddings", source.maxPosition, 2, kMaxPositions);
    config.factor = static_cast<double>(source.maxPosition) / static_cast<double>(config.originalMaxPosition);
    rope.markRead("factor");
    rope.markRead("original_max_position_embeddings");
    return;
  } else {
    config.originalMaxPosition = source.maxPosition;
    if (config.attentionFactor)
      ratio = 1; // the factor serves for nothing but the attention factor
  }
  config.factor = readFactor(rope, ratio);
  if (config.factor > 1 && config.originalMaxPosition < 2)
    rope.fail("expected max_position_embeddings of at least 2 with longrope, found 1");
}

void readLlama3(Source &source, RopeConfig &config) {
  ObjectReader &rope = source.rope;
  config.factor = readFactor(rope, std::nullopt);
  for (const char *key : {"low_freq_factor", "high_freq_factor"})
    if (!rope.has(key))
      rope.failExpected(key, "to be a number", Json());
  config.lowFreqFactor = rope.number("low_freq_factor", 1, 0, kMaxFactor);
  config.highFreqFactor = rope.number("high_freq_factor", 4, 0, kMaxFactor);
  if (config.highFreqFactor <= config.lowFreqFactor)
    rope.fail("expected " + rope.name("high_freq_factor") + " above low_freq_factor " +
              show(config.lowFreqFactor) + ", found " + show(config.highFreqFactor));
  std::optional<int64_t> original = source.originalMaxPosition();
  if (!original && !source.isVersion5)
    rope.failExpected("original_max_position_embeddings", "to be an integer", Json());
  config.originalMaxPosition = original.value_or(source.maxPosition);
}

void readByType(Source &source, RopeConfig &config) {
  config.originalMaxPosition = source.maxPosition;
  switch (config.type) {
  case RopeType::Default:
    return;
  case RopeType::Linear:
    config.factor = readFactor(source.rope, std::nullopt);
    return;
  case RopeType::Dynamic:
    // Compared with max_position_embeddings in every version, whatever original_max_position_embeddings says.
    config.factor = readFactor(source.rope, std::nullopt);
    source.rope.markRead("original_max_position_embeddings");
    return;
  case RopeType::Yarn:
    return readYarn(source, config);
  case RopeType::LongRope:
    return readLongRope(source, config);
  case RopeType::Llama3:
    return readLlama3(source, config);
  }
}

/// theta stands beside rope_scaling in 4.x and inside rope_parameters in 5.x; both may be there if they
/// agree.
double readTheta(ObjectReader &top, ObjectReader &rope) {
  double outer = top.number("rope_theta", 10000.0, 1, kMaxTheta);
  double inner = rope.number("rope_theta", outer, 1, kMaxTheta);
  if (top.has("rope_theta") && inner != outer)
    top.fail("expected " + rope.name("rope_theta") + " and rope_theta to agree, found " + show(inner) +
             " and " + show(outer));
  return inner;
}

/// Keys that the type does not use are ignored by transformers too; those of other architectures are not
/// harmless.
void checkRopeKeys(ObjectReader &rope, RopeType type, std::string_view where,
                   std::vector<std::string> &warnings) {
  for (const char *key : {"mrope_section", "mrope_interleaved"})
    if (rope.has(key))
      rope.fail("expected no " + rope.name(key) + " (multimodal rope is not supported)");
  if (rope.optionalNumber("partial_rotary_factor", 0, 1).value_or(1) != 1)
    rope.fail("expected " + rope.name("partial_rotary_factor") + " 1.0 (nothing else is supported), found " +
              show(*rope.value("partial_rotary_factor")));
  for (const std::string &key : rope.unread())
    warnings.push_back(std::string(where) + ": " + rope.name(key) + " has no effect with rope type " +
                       std::string(name(type)));
}

} // namespace

RopeConfig readRope(ObjectReader &reader, std::string_view where, int64_t headDim,
                    int64_t maxPositionEmbeddings, std::vector<std::string> &warnings) {
  RopeConfig config;
  const Json *scaling = reader.value("rope_scaling"), *parameters = reader.value("rope_parameters");
  if (scaling && parameters && *scaling != *parameters)
    reader.fail("expected either rope_scaling or rope_parameters, found both");
  bool isVersion5 = parameters != nullptr;
  std::string key = isVersion5 ? "rope_parameters" : "rope_scaling";
  const Json empty = Json::object();
  const Json *chosen = isVersion5 ? onlyParameters(reader, *parameters, key) : scaling;
  ObjectReader rope(chosen ? *chosen : empty, where, key + ".");

  config.theta = readTheta(reader, rope);
  std::optional<std::string> typeName = readTypeName(rope);
  if (!typeName && chosen && !isVersion5)
    rope.failExpected("rope_type", "to be a string", Json());
  std::optional<RopeType> type = typeName ? parseType(*typeName) : RopeType::Default;
  if (!type)
    rope.fail("expected rope type default, linear, dynamic, yarn, longrope or llama3, found " +
              show(*typeName));
  config.type = type.value_or(RopeType::Default);

  Source source{reader, rope, isVersion5, headDim, maxPositionEmbeddings};
  readByType(source, config);
  if (!rope.failed())
    checkRopeKeys(rope, config.type, where, warnings);
  if (Status status = rope.status(); !status)
    reader.adopt(status.takeError());
  return config;
}

} // namespace qwench::hf
