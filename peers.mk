# Beside other engines and on other CPUs.
bench-peers: all ## the same models in PyTorch and ONNX Runtime | 5 min
	@sh scripts/peers/install.sh --check && $(MAKE) -s models
	@sh scripts/run_with_data.sh "$$DATA" python3 scripts/peers/compare.py --mnistq $(BUILD)/mnistq $(FP32) INT8
bench-cpus: models ## each kernel on this CPU, into results/cpus.md | 2 min
	@sh scripts/run_with_data.sh "$$DATA" sh scripts/bench_cpus.sh $(BUILD)/mnistq DATA $(FP32) INT8 results/cpus.md
peers-install: ## gets those two, through apt and npm | 1 GB
	@sh scripts/peers/install.sh
