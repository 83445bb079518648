"""An OpenWhisk action: parameters come from the query or a JSON body, the dictionary returned is the answer.

curl 'http://127.0.0.1:8080/function/greet?name=Ann'"""


def main(args):
    name = args.get("name", "stranger")
    return {"greeting": f"Hello, {name}!"}
