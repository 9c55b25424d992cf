// Runs a fuzz target without libFuzzer, as a test: on the files of its corpus, and on mutations of them that are the
// same in every run. So an input that was once found keeps being tried, by every compiler and in every build.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "tests/fuzz/failure_report.h"
#include "tests/fuzz/mutator.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace longtake::fuzz {
namespace {

struct File {
  std::string path, bytes;
};

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The files, and those of the folders, by their names.
std::vector<File> ReadCorpus(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    if (!std::filesystem::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(path)) files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  std::vector<File> corpus;
  corpus.reserve(files.size());
  for (const std::string& path : files) corpus.push_back({path, ReadFile(path)});
  return corpus;
}

void Run(const std::string& name, const std::string& bytes) {
  SetInput(name, bytes);
  // As libFuzzer does: a copy of exactly this size, so that a sanitizer sees what reads beyond it.
  const std::vector<uint8_t> copy(bytes.begin(), bytes.end());
  LLVMFuzzerTestOneInput(copy.data(), copy.size());
  CheckMemory();
}

int Main(int argc, char** argv) {
  CLI::App app("Runs a fuzz target on files, and on mutations of them");
  std::vector<std::string> paths;
  std::string dictionary;
  int mutations = 0;
  app.add_option("PATH", paths, "Files, or folders of them")->required()->check(CLI::ExistingPath);
  app.add_option("--mutations", mutations, "How many mutations of the files are run as well")->capture_default_str();
  app.add_option("--dictionary", dictionary, "Words for mutations, in libFuzzer's form")->check(CLI::ExistingFile);
  CLI11_PARSE(app, argc, argv);

  const std::vector<File> corpus = ReadCorpus(paths);
  if (corpus.empty()) {
    std::fprintf(stderr, "fuzz: there are no files\n");
    return 1;
  }
  ReportFailures();
  std::vector<std::string> texts;
  for (const File& file : corpus) {
    Run(file.path, file.bytes);
    texts.push_back(file.bytes);
  }
  Mutator mutator(texts, dictionary.empty() ? std::vector<std::string>() : ParseDictionary(ReadFile(dictionary)),
                  /*seed=*/1);
  for (int i = 0; i < mutations; ++i) {
    const File& file = corpus[static_cast<size_t>(i) % corpus.size()];
    const std::string bytes = mutator.Mutate(file.bytes);
    const std::string name = absl::StrCat("mutation ", i, " of ", file.path);
    Run(name, bytes);
  }
  std::printf("fuzz: %zu files and %d mutations\n", corpus.size(), mutations);
  return 0;
}

}  // namespace
}  // namespace longtake::fuzz

int main(int argc, char** argv) { return longtake::fuzz::Main(argc, argv); }
