// longtake.v1.ModelService.
#ifndef LONGTAKE_SERVER_GRPC_MODEL_SERVICE_H_
#define LONGTAKE_SERVER_GRPC_MODEL_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include "longtake/v1/model_service.grpc.pb.h"
#include "server/grpc/door.h"

namespace longtake::server {

class ModelService : public v1::ModelService::CallbackService {
 public:
  // `door` outlives it.
  explicit ModelService(const Door* door) : door_(door) {}

  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context, const v1::GetModelRequest* request,
                                     v1::Model* response) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context, const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;

 private:
  const Door* const door_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_GRPC_MODEL_SERVICE_H_
