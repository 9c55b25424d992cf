// longtake-module: runs one module of a model folder on tensors from a file, or prints a folder's settings.
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "common/exception_status.h"
#include "common/status_macros.h"
#include "engine/backend/backend.h"
#include "engine/models/folder/settings.h"
#include "engine/models/folder/settings_fields.h"
#include "engine/runner/modules.h"

namespace longtake {
namespace {

struct Arguments {
  ModuleRequest request;
  std::string decoder = "full";
  BackendOptions backend{.dtype = "float32"};
  std::string module, input, output;
};

absl::Status Run(const Arguments& a) try {
  const std::map<std::string, ModuleFunction> modules = {
      {"caption", RunCaption},         {"text_encoder", RunTextEncoder},
      {"transformer", RunTransformer}, {"transformer_blocks", RunTransformerBlocks},
      {"few_step", RunFewStep},        {"bidirectional", RunBidirectional},
      {"vae_decoder", RunVaeDecoder},  {"vae_encoder", RunVaeEncoder},
      {"tokenizer", RunTokenizer},
  };
  const auto module = modules.find(a.module);
  if (module == modules.end()) {
    std::string known;
    for (const auto& [name, function] : modules) absl::StrAppend(&known, known.empty() ? "" : ", ", name);
    return absl::InvalidArgumentError(absl::StrCat("--module: \"", a.module, "\" is none of ", known));
  }
  if (!a.request.adapters.empty() && a.module != "transformer" && a.module != "transformer_blocks") {
    return absl::InvalidArgumentError("--adapter: of the modules transformer and transformer_blocks only");
  }
  ModuleRequest request = a.request;
  request.tiny = a.decoder == "tiny";
  if (request.tiny && a.module != "vae_decoder") {
    return absl::InvalidArgumentError("--decoder: of the module vae_decoder only");
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Ops> ops, MakeBackend(a.backend));
  std::optional<TensorStore> store;
  if (!a.input.empty()) {
    ASSIGN_OR_RETURN(store, TensorStore::OpenFile(a.input));
  }
  ModuleInputs inputs(store.has_value() ? &*store : nullptr);
  ASSIGN_OR_RETURN(const ModuleOutputs outputs, module->second(*ops, request, inputs));
  RETURN_IF_ERROR(ops->device().Synchronize());
  std::map<std::string, HostTensor> tensors;
  for (const auto& [name, t] : outputs) tensors[name] = {t.values.data(), DType::kF32, t.shape};
  return WriteSafetensors(a.output, tensors);
} catch (...) {
  return StatusOfCurrentException();
}

int Report(const absl::Status& status) {
  if (status.ok()) return 0;
  std::fprintf(stderr, "longtake-module: %s\n", std::string(status.message()).c_str());
  return 1;
}

absl::Status PrintSettings(const std::string& folder) {
  ASSIGN_OR_RETURN(const ModelSettings settings, ModelSettings::Load(folder));
  std::printf("%s\n", ToJson(settings).dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
  return absl::OkStatus();
}

// longtake-module settings FOLDER
int RunSettings(int argc, char** argv) {
  CLI::App app("Prints the settings of a model folder, its family's defaults included, as a longtake.json would.",
               "longtake-module settings");
  std::string folder;
  app.add_option("folder", folder, "Model folder in diffusers' layout")->required();
  CLI11_PARSE(app, argc, argv);
  return Report(PrintSettings(folder));
}

}  // namespace
}  // namespace longtake

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "settings") return longtake::RunSettings(argc - 1, argv + 1);
  longtake::Arguments a;
  CLI::App app("Runs one module of a model folder on tensors from a file. All floats in and out are float32.");
  app.footer("longtake-module settings FOLDER prints a folder's settings.");
  app.add_option("--model", a.request.model_dir, "Model folder in diffusers' layout")->required();
  app.add_option("--module", a.module, "caption, text_encoder, transformer, transformer_blocks, few_step, ...")
      ->required();
  app.add_option("--backend", a.backend.backend, "reference, cpu or cuda")->capture_default_str();
  app.add_option("--dtype", a.backend.dtype, "float32 or bfloat16; int8 of cpu; float8, nvfp4; of cuda not float32")
      ->capture_default_str();
  app.add_option("--isa", a.backend.isa, "Cap on the instruction set of the cpu backend")->capture_default_str();
  app.add_option("--threads", a.backend.threads, "0: one for each physical core, within the cgroup's quota")
      ->capture_default_str();
  app.add_option("--device", a.backend.device, "Of the cuda backend")->capture_default_str();
  app.add_option("--input", a.input, "Input tensors, safetensors");
  app.add_option("--output", a.output, "Output tensors, safetensors")->required();
  app.add_option("--prompt", a.request.prompt, "Of the module caption");
  app.add_flag("--negative", a.request.negative, "Of the module caption: the prompt is a negative one");
  app.add_option("--steps", a.request.steps, "Of the module bidirectional")->check(CLI::Range(1, 1000));
  app.add_option("--guidance", a.request.guidance, "Of the module bidirectional");
  app.add_option("--adapter", a.request.adapters, "NAME or NAME=STRENGTH of an adapter in MODEL/adapters; several");
  app.add_option("--decoder", a.decoder, "Of the module vae_decoder: full, or tiny, of MODEL/tiny_decoder")
      ->check(CLI::IsMember({"full", "tiny"}))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return longtake::Report(longtake::Run(a));
}
