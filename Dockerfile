# docker build -t onpolicybaselines .
# docker run --rm -v "$PWD/runs:/runs" onpolicybaselines --env=Hopper-v5 --num_timesteps=100000 --log_path=/runs/hopper
FROM python:3.11-slim
# what MuJoCo renders with, without a display
RUN apt-get update && apt-get install --yes --no-install-recommends libegl1 libgl1 && rm -rf /var/lib/apt/lists/*
WORKDIR /onpolicybaselines
COPY setup.py constraints.txt README.md LICENSE ./
COPY onpolicybaselines onpolicybaselines
RUN pip install --no-cache-dir --constraint constraints.txt '.[mpi,fast,plots,video,atari]'
ENV MUJOCO_GL=egl
ENTRYPOINT ["python", "-m", "onpolicybaselines.run"]
