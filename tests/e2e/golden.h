// What tests/golden says about its models.
#pragma once

#include <nlohmann/json.hpp>

#include <string>

namespace qwench::e2e {

nlohmann::json readJson(const std::string &path);

/// tests/golden/manifest.json.
const nlohmann::json &manifest();

} // namespace qwench::e2e
