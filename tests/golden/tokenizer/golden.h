// Reads the golden files.
#pragma once

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace qwench::golden {

using Json = nlohmann::ordered_json;

inline std::string readText(const std::string &path) {
  std::ifstream file(std::string(QWENCH_SOURCE_DIR) + "/" + path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline Json readJson(const std::string &name) {
  return Json::parse(readText("tests/golden/tokenizer/" + name));
}

inline std::vector<Json> readLines(const std::string &name) {
  std::istringstream text(readText("tests/golden/tokenizer/" + name));
  std::vector<Json> records;
  for (std::string line; std::getline(text, line);)
    records.push_back(Json::parse(line));
  EXPECT_FALSE(records.empty()) << name;
  return records;
}

inline std::string fromHex(const std::string &hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

} // namespace qwench::golden
