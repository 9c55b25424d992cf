#include "engine/models/folder/scheduler_config.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace longtake {
namespace {

// Reads the shift. A scheduler made from another class's configuration (`from_config`) keeps fields of that class but
// does not read them. If the foreign shift is among them it must equal the effective one, because its author meant it
// to act.
double ReadShift(JsonConfig& json, const char* field, const char* foreign) {
  const double shift = json.Number(field, 1.0);
  if (!(shift > 0)) json.Fail(field, "must be positive");
  if (json.Has(foreign) && json.Number(foreign, 1.0) != shift) {
    json.Fail(foreign, absl::StrCat("has no effect in this class, whose field is '", field, "'"));
  }
  return shift;
}

// Refuses noise schedules that no supported class implements.
void RefuseOtherSchedules(JsonConfig& json) {
  json.MustBe("num_train_timesteps", 1000);
  json.MustBe("use_karras_sigmas", false);
  json.MustBe("use_exponential_sigmas", false);
  json.MustBe("use_beta_sigmas", false);
  json.MustBe("use_dynamic_shifting", false);
  json.MustBe("shift_terminal", nullptr);
}

// Checks what the two multistep solvers have in common.
void RefuseOtherMultisteps(JsonConfig& json) {
  // The defaults of these two fields select another solver, so their absence is an error too.
  if (!json.Bool("use_flow_sigmas", false)) json.Fail("use_flow_sigmas", "must be true");
  if (json.String("prediction_type", "epsilon") != "flow_prediction") {
    json.Fail("prediction_type", "must be \"flow_prediction\"");
  }
  json.MustBe("final_sigmas_type", "zero");
  json.MustBe("lower_order_final", true);
  json.MustBe("thresholding", false);
  json.MustBe("rescale_betas_zero_snr", false);
}

void ReadDpmSolver(JsonConfig& json, ModelSettings& s) {
  s.shift = ReadShift(json, "flow_shift", "shift");
  RefuseOtherMultisteps(json);
  json.MustBe("solver_order", 2);
  json.MustBe("solver_type", "midpoint");
  json.MustBe("algorithm_type", "dpmsolver++");
  json.MustBe("use_lu_lambdas", false);
  json.MustBe("variance_type", nullptr);
}

void ReadEuler(JsonConfig& json, ModelSettings& s) {
  s.shift = ReadShift(json, "shift", "flow_shift");
  json.MustBe("invert_sigmas", false);
  json.MustBe("stochastic_sampling", false);
}

void ReadUniPc(JsonConfig& json, ModelSettings& s) {
  s.shift = ReadShift(json, "flow_shift", "shift");
  RefuseOtherMultisteps(json);
  json.MustBe("predict_x0", true);
  json.MustBe("solver_p", nullptr);
  // With bh1 the class multiplies infinity by zero at the last step, where sigma is 0, so only bh2 is supported. The
  // class treats the names of DPM-Solver's types as bh2.
  const std::string type = json.String("solver_type", "bh2");
  if (type != "bh2" && type != "midpoint" && type != "heun" && type != "logrho") {
    json.Fail("solver_type", "must be \"bh2\"");
  }
  ReadUniPcOptions(json, s.unipc);
}

}  // namespace

std::optional<SamplerKind> SamplerOfScheduler(std::string_view class_name) {
  if (class_name == "DPMSolverMultistepScheduler") return SamplerKind::kFlowDpmSolver;
  if (class_name == "FlowMatchEulerDiscreteScheduler") return SamplerKind::kFlowEuler;
  if (class_name == "UniPCMultistepScheduler") return SamplerKind::kFlowUniPc;
  return std::nullopt;
}

void ReadUniPcOptions(JsonConfig& json, UniPcSettings& unipc) {
  unipc.order = static_cast<int>(json.Int("solver_order", 1, 3, unipc.order));
  if (!json.Has("disable_corrector")) return;
  unipc.no_corrector_at.clear();
  for (const int64_t step : json.Ints("disable_corrector", {})) {
    if (step < 0 || step > 1000) json.Fail("disable_corrector", "must hold steps from 0 to 1000");
    unipc.no_corrector_at.push_back(static_cast<int>(step));
  }
}

absl::Status ReadSchedulerConfig(JsonConfig json, ModelSettings* settings) {
  RefuseOtherSchedules(json);
  if (settings->sampler == SamplerKind::kFlowDpmSolver) ReadDpmSolver(json, *settings);
  if (settings->sampler == SamplerKind::kFlowEuler) ReadEuler(json, *settings);
  if (settings->sampler == SamplerKind::kFlowUniPc) ReadUniPc(json, *settings);
  // These fields do not affect flow schedules, whose sigmas depend only on the number of steps and the shift.
  // euler_at_final requests what a final sigma of zero does anyway.
  json.Ignore({"_class_name", "_diffusers_version", "beta_start", "beta_end", "beta_schedule", "trained_betas",
               "dynamic_thresholding_ratio", "sample_max_value", "euler_at_final", "lambda_min_clipped",
               "timestep_spacing", "steps_offset", "time_shift_type", "base_shift", "max_shift", "base_image_seq_len",
               "max_image_seq_len", "sigma_min", "sigma_max"});
  // Fields of other classes that from_config has kept: this class does not read them.
  if (settings->sampler != SamplerKind::kFlowDpmSolver) {
    json.Ignore({"algorithm_type", "use_lu_lambdas", "variance_type"});
  }
  if (settings->sampler != SamplerKind::kFlowUniPc) {
    json.Ignore({"predict_x0", "disable_corrector", "solver_p"});
  }
  if (settings->sampler == SamplerKind::kFlowEuler) {
    json.Ignore({"use_flow_sigmas", "prediction_type", "final_sigmas_type", "lower_order_final", "thresholding",
                 "rescale_betas_zero_snr", "solver_order", "solver_type"});
  } else {
    json.Ignore({"invert_sigmas", "stochastic_sampling"});
  }
  return json.Finish();
}

}  // namespace longtake
